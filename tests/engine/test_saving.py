"""Saving beside the training: what is copied, what stays, and what a disk that refuses leads to."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import torch

from tests.engine.bench import Bench, StopAtStep, model_of, same
from tests.engine.test_checkpoint import a_payload
from tests.texts import write_text
from trainer.engine import checkpoint, retention, saving
from trainer.engine.checkpoint import NotSavedError, SpoiltWeightsError
from trainer.engine.saving import Saver, pause_seconds, refused_words, snapshot
from trainer.engine.timing import Costs
from trainer.errors import CheckpointError
from trainer.runs import Run
from trainer.store.recorder import Recorder
from trainer.store.records import ResumedFrom
from trainer.store.truth import anew_command
from trainer.store.workspace import RunPaths

Names = list[str]


def names_in(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.pt")}


class Memory(NamedTuple):
    """What psutil tells, in bytes."""

    available: int


class Disk:
    """Refuses to begin checkpoints while it is full, and counts how often it did."""

    def __init__(self) -> None:
        self.full: Callable[[], bool] = lambda: False
        self.looks = self.refused = 0

    def require_space(self, folder: Path, size: int) -> None:
        """Stand in for :func:`checkpoint.require_space`, which each save asks twice."""
        self.looks += 1
        if self.full():
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(checkpoint, "require_space", made.require_space)
    return made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(saving, "pause_seconds", lambda tries: 0.0)
    monkeypatch.setattr(saving, "_LAST_PAUSE_SECONDS", 0.0)


# ---------------------------------------------------------------------- the snapshot


def test_a_snapshot_does_not_follow_what_moves() -> None:
    weight = torch.ones(2)
    copy = snapshot({"a": [weight, (weight, 3)], "b": "text"})
    weight.zero_()
    assert [copy["a"][0].tolist(), copy["a"][1][0].tolist()] == [[1.0, 1.0], [1.0, 1.0]]
    assert (copy["a"][1][1], copy["b"]) == (3, "text")


def test_the_size_of_a_payload_is_that_of_its_tensors() -> None:
    value = {"a": [torch.zeros(3), (torch.zeros(2, dtype=torch.int64),)], "b": 5}
    assert checkpoint.tensor_bytes(value) == 3 * 4 + 2 * 8


@pytest.mark.parametrize(("available", "fits"), [(200, True), (199, False)])
def test_a_snapshot_leaves_as_much_memory_as_it_takes(
    available: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(available))
    assert saving.fits_in_memory(100) == fits


def test_pauses_grow_to_a_minute() -> None:
    assert [pause_seconds(tries) for tries in (1, 2, 3, 6, 7, 99)] == [1, 2, 4, 32, 60, 60]


def test_what_is_refused_is_told_with_how_far_a_resume_would_go_back() -> None:
    error = NotSavedError("latest.pt could not be saved: it is odd.")
    assert refused_words(error, 1200) == (
        "No checkpoint can be saved (latest.pt could not be saved: it is odd); the one that is "
        "there is of step 1,200. The save is tried again."
    )
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert refused_words(error, None) == (
        "No checkpoint can be saved (no space left). The save is tried again."
    )


# ---------------------------------------------------------------------- the saver


@pytest.fixture
def saver(bench: Bench) -> Any:
    """The saver of a run without training."""
    run = bench.new("checkpoint.keep_last=2")
    recorder = Recorder(run.paths, run.state)
    made = Saver(run.paths, recorder, bench.store.config(run.run_id).checkpoint, Costs())
    yield made
    made.close()
    recorder.close()


def folder_of(saver: Saver) -> Path:
    paths: RunPaths = saver._paths
    return paths.checkpoints


def test_it_is_written_by_another_thread_and_can_move_meanwhile(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, threads = threading.Event(), []
    honest = checkpoint.save

    def save(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        assert may_write.wait(30)
        return honest(*arguments)

    monkeypatch.setattr(checkpoint, "save", save)
    payload = a_payload(step=10)
    expected = {name: weight.clone() for name, weight in payload["model"].items()}
    saver.save(payload, ["best"])
    for weight in payload["model"].values():
        weight.zero_()
    assert names_in(folder_of(saver)) == set()
    may_write.set()
    saver.wait()
    assert threads[0].startswith("saver")
    assert names_in(folder_of(saver)) == {"latest", "best"}
    assert same(checkpoint.load(folder_of(saver) / "latest.pt")["model"], expected)


def test_one_save_follows_the_other(saver: Saver, monkeypatch: pytest.MonkeyPatch) -> None:
    honest, at_once = checkpoint.save, Counter[str]()

    def save(*arguments: Any) -> Any:
        at_once["now"] += 1
        at_once["most"] = max(at_once["most"], at_once["now"])
        try:
            return honest(*arguments)
        finally:
            at_once["now"] -= 1

    monkeypatch.setattr(checkpoint, "save", save)
    for step in (10, 20, 30):
        saver.save(a_payload(step=step))
    saver.wait()
    assert at_once["most"] == 1
    assert checkpoint.load(folder_of(saver) / "latest.pt")["step"] == 30


def test_weights_that_are_not_finite_are_refused_at_once(saver: Saver) -> None:
    payload = a_payload(step=10)
    payload["model"]["norm.weight"][0] = float("nan")
    with pytest.raises(SpoiltWeightsError, match=r"latest\.pt was not saved"):
        saver.save(payload)
    assert not folder_of(saver).exists()


def test_what_nobody_expected_comes_out_in_the_training_thread(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoint, "save", broken)
    saver.save(a_payload())
    with pytest.raises(ZeroDivisionError):
        saver.wait()


def test_without_memory_for_a_copy_the_training_thread_saves(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "fits_in_memory", lambda size: False)
    monkeypatch.setattr(saving, "snapshot", None)
    saver.save(a_payload(step=10), ["epoch-1"])
    assert names_in(folder_of(saver)) == {"latest", "epoch-1"}


def test_the_points_before_it_are_written_first(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recorder, "flush", lambda recorder, patience: False)
    saver.save(a_payload(step=10))
    saver.wait()
    assert names_in(folder_of(saver)) == set()
    assert "the metrics up to its step cannot be written" in str(saver.failure)


# ---------------------------------------------------------------------- a disk that refuses


def test_what_the_disk_refused_is_kept_and_tried_again(
    saver: Saver, disk: Disk, impatient: None
) -> None:
    saver.save(a_payload(step=10))
    saver.wait()
    disk.full = lambda: True
    saver.save(a_payload(step=20), ["best"])
    saver.wait()
    assert "No space left on device" in str(saver.failure)
    assert checkpoint.load(folder_of(saver) / "latest.pt")["step"] == 10
    disk.full = lambda: False
    saver.attend()
    saver.wait()
    assert saver.failure is None
    assert checkpoint.load(folder_of(saver) / "best.pt")["step"] == 20
    assert list(folder_of(saver).glob(".*")) == []


def test_it_is_not_tried_at_every_step(saver: Saver, disk: Disk) -> None:
    disk.full = lambda: True
    saver.save(a_payload(step=10))
    saver.wait()
    for _ in range(100):
        saver.attend()
    saver.wait()
    assert disk.refused == 1


def test_the_best_weights_get_one_more_try_before_newer_ones(saver: Saver, disk: Disk) -> None:
    disk.full = lambda: True
    saver.save(a_payload(step=10), ["best"])
    saver.wait()
    disk.full = lambda: False
    saver.save(a_payload(step=20))
    saver.wait()
    folder = folder_of(saver)
    assert checkpoint.load(folder / "best.pt")["step"] == 10
    assert checkpoint.load(folder / "latest.pt")["step"] == 20


def test_a_checkpoint_that_is_given_up_stays_a_warning_of_the_run(saver: Saver, disk: Disk) -> None:
    disk.full = lambda: True
    saver.save(a_payload(step=10), ["best", "epoch-1"])
    saver.save(a_payload(step=20), ["epoch-2"])
    saver.save(a_payload(step=30))
    assert saver._recorder.state.warnings == [
        "best.pt and epoch-1.pt of step 10 could not be saved before the next save was due, and "
        "were given up: training has gone on.",
        "epoch-2.pt of step 20 could not be saved before the next save was due, and was given "
        "up: training has gone on.",
    ]


def test_at_the_end_it_waits_until_there_is_space(
    saver: Saver, disk: Disk, impatient: None
) -> None:
    disk.full = lambda: disk.refused < 4
    waited: list[bool] = []
    saver.save(a_payload(step=10))
    assert saver.finish(lambda: waited.append(True), lambda: False)
    assert len(waited) == 4
    assert checkpoint.load(folder_of(saver) / "latest.pt")["step"] == 10


def test_the_waiting_at_the_end_can_be_given_up(saver: Saver, disk: Disk) -> None:
    disk.full = lambda: True
    saver.save(a_payload(step=10))
    assert not saver.finish(lambda: None, lambda: True)


@pytest.mark.parametrize("memory", [True, False])
def test_training_goes_on_while_the_disk_is_full(
    bench: Bench, disk: Disk, impatient: None, monkeypatch: pytest.MonkeyPatch, memory: bool
) -> None:
    monkeypatch.setattr(saving, "fits_in_memory", lambda size: memory)
    undisturbed = bench.run("checkpoint.every_steps=3")
    disk.looks = 0
    disk.full = lambda: 2 < disk.looks <= 6
    run = bench.run("checkpoint.every_steps=3")
    assert run.status == "completed"
    assert disk.refused == 4
    assert bench.points(run) == bench.points(undisturbed)
    assert same(model_of(run), model_of(undisturbed))
    (refused,) = bench.events(run, "not-saved")
    assert (refused["level"], "No space left" in refused["message"]) == ("error", True)
    assert len(bench.events(run, "saved-again")) == 1


def test_a_stopped_run_waits_for_space_and_says_so(
    bench: Bench, disk: Disk, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases: Names = []
    honest = Recorder.update

    def update(recorder: Recorder, **changes: Any) -> None:
        phases.append(changes.get("phase") or "")
        honest(recorder, **changes)

    monkeypatch.setattr(Recorder, "update", update)
    disk.full = lambda: disk.refused < 3
    run = bench.run(stop_at=4)
    assert run.status == "stopped"
    assert phases.count("waiting for free space") == 3
    assert checkpoint.load(run.paths.checkpoint("latest"))["step"] == 4


def test_a_complete_run_that_nobody_lets_wait_for_space_repeats_its_end(
    bench: Bench, disk: Disk, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = property(lambda stop: stop._recorder.state.phase == "waiting for free space")
    monkeypatch.setattr(StopAtStep, "requested", waiting)
    undisturbed = bench.run("checkpoint.every_steps=5")
    disk.looks = 0
    disk.full = lambda: disk.looks > 2 * 2
    run = bench.run("checkpoint.every_steps=5")
    assert (run.status, run.state.step) == ("stopped", 12)
    assert checkpoint.load(run.paths.checkpoint("latest"))["step"] == 10
    assert "before that step could be saved" in run.state.warnings[-1]
    disk.full = lambda: False
    bench.train(run, source="latest")
    assert bench.points(run) == bench.points(undisturbed)
    assert same(model_of(run), model_of(undisturbed))


# ---------------------------------------------------------------------- by the clock


def test_a_save_by_the_clock_changes_nothing_that_is_computed(bench: Bench) -> None:
    settings = ("training.max_steps=8", "model.dropout=0.1")
    without = bench.run(*settings, "checkpoint.every_minutes=null")
    often = bench.run(*settings, "checkpoint.every_minutes=0.000001")
    assert [event["step"] for event in bench.events(without, "saved")] == [8]
    assert [event["step"] for event in bench.events(often, "saved")] == list(range(1, 9))
    assert bench.points(often) == bench.points(without)
    assert same(model_of(often), model_of(without))


# ---------------------------------------------------------------------- retention


def link_epochs(saved: Path, *numbers: int) -> None:
    for number in numbers:
        checkpoint.link(saved, saved.with_name(f"epoch-{number}.pt"))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "latest.pt"
    checkpoint.save(path, a_payload())
    return path


def test_the_newest_epochs_and_every_few_are_kept(saved: Path) -> None:
    link_epochs(saved, 1, 2, 5, 9, 10, 11)
    checkpoint.link(saved, saved.with_name("step-10.pt"))
    assert retention.retire(saved.parent, 2, 5) == ["epoch-1", "epoch-2", "epoch-9"]
    kept = {"latest", "epoch-5", "epoch-10", "epoch-11", "step-10"}
    assert names_in(saved.parent) == kept
    assert {path.name for path in saved.parent.glob("*.json")} == {f"{n}.pt.json" for n in kept}


def test_nothing_is_removed_while_the_latest_is_not_whole(saved: Path) -> None:
    checkpoint.save(saved, a_payload(step=20), [saved.with_name(f"epoch-{n}.pt") for n in (1, 2)])
    saved.unlink()
    saved.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"latest\.pt is damaged"):
        retention.retire(saved.parent, 1, None)
    assert names_in(saved.parent) == {"latest", "epoch-1", "epoch-2"}


def test_what_a_killed_retention_left_is_removed_by_the_next(saved: Path) -> None:
    link_epochs(saved, 1, 2)
    saved.with_name("epoch-1.pt").unlink()
    assert retention.retire(saved.parent, 1, None) == ["epoch-1"]
    assert not saved.with_name("epoch-1.pt.json").exists()


def test_only_old_temporary_files_are_swept(saved: Path) -> None:
    old, young = saved.with_name(".pin-1-1.part"), saved.with_name(".pin-2-2.part")
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    retention.sweep(saved.parent)
    assert (old.exists(), young.exists()) == (False, True)


def test_every_few_epochs_are_kept_by_a_run(bench: Bench) -> None:
    bench.text = write_text(bench.text.with_name("small.txt"), 12_000)
    run = bench.run(
        "training.max_steps=null",
        "training.epochs=5",
        "checkpoint.keep_last=1",
        "checkpoint.keep_every=2",
    )
    assert names_in(run.paths.checkpoints) == {"latest", "best", "epoch-2", "epoch-4", "epoch-5"}


# ---------------------------------------------------------------------- damage, and a resume


def damage(path: Path) -> None:
    """Spoil a checkpoint in a file of its own: other names may share the old one."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def two_saved(bench: Bench) -> Run:
    """A run stopped at step 6 whose best is of step 4."""
    return bench.run("evaluation.every_steps=4", stop_at=6)


def test_a_damaged_latest_is_set_aside_and_the_next_older_one_is_used(bench: Bench) -> None:
    whole = bench.run("evaluation.every_steps=4")
    run = two_saved(bench)
    damage(run.paths.checkpoint("latest"))
    assert bench.train(run, source="latest") == "completed"
    assert bench.points(run) == bench.points(whole)
    assert same(model_of(run), model_of(whole))
    (told,) = bench.events(run, "damaged")
    assert told["level"] == "error"
    assert "latest.pt is damaged: its SHA-256 is not" in told["message"]
    assert told["message"].startswith("At the resume from step 4: The checkpoint latest.pt is")
    assert told["message"].endswith("Training went on from best.pt instead.")
    state = bench.store.get(run.run_id).state
    assert told["message"] in state.warnings
    assert state.resumed == ResumedFrom(checkpoint="best", step=4)
    aside = sorted(path.name for path in (run.paths.checkpoints / "damaged").iterdir())
    assert len(aside) == 2
    assert aside[0].startswith("latest-")
    assert aside[1] == f"{aside[0]}.json"
    assert f"set aside as damaged/{aside[0]}" in told["message"]


def test_a_missing_latest_is_replaced_by_the_newest_there_is(bench: Bench) -> None:
    run = two_saved(bench)
    run.paths.checkpoint("latest").unlink()
    bench.train(run, source="latest", stop_at=5)
    (told,) = bench.events(run, "damaged")
    assert told["message"] == (
        "At the resume from step 4: There is no latest.pt. Training went on from best.pt instead."
    )
    assert checkpoint.load(run.paths.checkpoint("latest"))["step"] == 5


def test_newer_ones_of_another_branch_are_not_taken(bench: Bench) -> None:
    run = bench.run("evaluation.every_steps=4", stop_at=9)
    checkpoint.link(run.paths.checkpoint("best"), run.paths.checkpoint("step-8"))
    run = bench.store.get(run.run_id)
    checkpoint.save(run.paths.checkpoint("epoch-1"), a_payload(step=5))
    damage(run.paths.checkpoint("epoch-1"))
    with pytest.raises(CheckpointError, match="no other checkpoint of this run to go on from"):
        bench.train(run, source="epoch-1")
    assert names_in(run.paths.checkpoints) == {"latest", "best", "step-8"}


def test_when_none_is_left_the_story_is_told(bench: Bench) -> None:
    run = two_saved(bench)
    for name in ("latest", "best"):
        damage(run.paths.checkpoint(name))
    with pytest.raises(CheckpointError) as raised:
        bench.train(run, source="latest")
    for words in ("latest.pt is damaged", "best.pt is damaged", "There is no other checkpoint"):
        assert words in raised.value.message
    assert raised.value.hint == f"To start it anew: {anew_command(run.paths)}"


def test_one_of_a_newer_version_is_refused_and_stays(bench: Bench) -> None:
    run = two_saved(bench)
    latest = run.paths.checkpoint("latest")
    payload = checkpoint.load(latest) | {"format": 2}
    torch.save(payload, latest)
    latest.with_name("latest.pt.json").unlink()
    with pytest.raises(CheckpointError, match="written by a newer llm-trainer"):
        bench.train(run, source="latest")
    assert latest.exists()


def test_a_lost_file_beside_it_is_made_anew_by_a_resume(bench: Bench) -> None:
    run = two_saved(bench)
    run.paths.checkpoint("latest").with_name("latest.pt.json").unlink()
    bench.train(run, source="latest", stop_at=6)
    assert [found.name for found in bench.store.checkpoints(run.run_id)] == ["latest", "best"]
