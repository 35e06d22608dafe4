"""Runs that wait for a busy device: launched, killed, stopped, started before their turn."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import MakeRun
from tests.texts import tiny_config, write_text
from trainer import launch
from trainer.candidates import Wanted
from trainer.errors import ConflictError
from trainer.queueing import place_words, queued_state, waiting_words
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.queue import Place, Queue
from trainer.store.recorder import Recorder
from trainer.store.records import QueueStanding
from trainer.waiting import Turn

PATIENCE_SECONDS = 90.0

# ---------------------------------------------------------------------- in words


def test_a_standing_in_words() -> None:
    second = QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline")
    assert waiting_words(second) == "waiting for cpu: 1 run ahead"
    assert place_words(second) == "2nd for cpu, after baseline"
    third = QueueStanding(device="one of 2 GPUs", position=3, ahead=["a", "b", "c"])
    assert waiting_words(third) == "waiting for one of 2 GPUs: 2 runs ahead"
    assert place_words(third) == "3rd for one of 2 GPUs"
    assert place_words(None) == ""


def test_the_state_of_a_run_that_waits_names_the_one_before_it(
    store: RunStore, make_run: MakeRun
) -> None:
    make_run(run_id="b", name="baseline")
    standing = QueueStanding(device="cpu", position=3, ahead=["a", "b"])
    fields = queued_state(standing, store.workspace)
    assert (fields["status"], fields["phase"]) == ("queued", "waiting for cpu: 2 runs ahead")
    assert fields["queue"].after == "baseline"


def test_a_run_without_a_name_or_a_folder_is_called_by_its_id(store: RunStore) -> None:
    standing = QueueStanding(device="cpu", position=2, ahead=["not-yet-there"])
    assert queued_state(standing, store.workspace)["queue"].after == "not-yet-there"


def test_a_run_whose_process_is_to_start_waits_for_nothing(store: RunStore) -> None:
    assert queued_state(None, store.workspace) == {"status": "queued", "phase": None, "queue": None}


# ---------------------------------------------------------------------- real workers


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


@pytest.fixture
def first(store: RunStore, make_run: MakeRun) -> Iterator[Place]:
    """The place of a run that has the CPU, until it is released; whatever waits is killed."""
    make_run(run_id="first", name="baseline")
    place = Queue(store.workspace.queue_dir).draw("first", ("cpu",), "cpu")
    yield place
    place.release()
    for run in store.list(status="active").runs:
        if run.state.process is not None:
            process.kill_group(run.state.process)


def wait_for(store: RunStore, run_id: str, until: Callable[[Run], bool]) -> Run:
    run = store.wait(run_id, until, patience_seconds=PATIENCE_SECONDS)
    assert until(run), (run.status, run.state.error, store.log_tail(run_id, name="worker"))
    return run


def ended(run: Run) -> bool:
    return not run.active


def waits(run: Run) -> bool:
    """Say whether a run's own process waits, and not only its launcher has said so."""
    return run.status == "queued" and run.state.process is not None


def stands(position: int) -> Callable[[Run], bool]:
    return lambda run: run.state.queue is not None and run.state.queue.position == position


def events(store: RunStore, run_id: str) -> list[str]:
    with store.metrics(run_id) as reader:
        return [event["message"] for event in reader.events()]


def test_a_queue_that_cannot_be_used_just_now_makes_the_wait_longer(
    store: RunStore, make_run: MakeRun, first: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="queued")
    place = Queue(store.workspace.queue_dir).draw(run.run_id, ("cpu",), "cpu")
    recorder = Recorder(run.paths, run.state)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    def space_again(_: float) -> None:
        monkeypatch.undo()
        first.release()

    monkeypatch.setattr(place, "take_turn", full)
    turn = Turn(place, recorder, store.workspace, run.paths, sleep=space_again)
    assert turn.wait() == "cpu"
    recorder.close()
    place.release()
    assert events(store, run.run_id)[:2] == [
        "The queue cannot be used just now: [Errno 28] No space left on device",
        "Queued: waiting for the queue.",
    ]


def test_a_killed_waiter_gives_up_its_place_and_the_next_begins_by_itself(
    store: RunStore, text: Path, first: Place
) -> None:
    second = store.create(tiny_config(text), name="second")
    third = store.create(tiny_config(text), name="third")
    assert store.get(third).state.queue == QueueStanding(
        device="cpu", position=3, ahead=["first", second], after="second"
    )
    owner = wait_for(store, second, waits).state.process
    wait_for(store, third, waits)
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    killed = wait_for(store, second, ended)
    assert (killed.status, killed.state.queue) == ("interrupted", None)
    moved_up = wait_for(store, third, stands(2))
    assert moved_up.state.phase == "waiting for cpu: 1 run ahead"
    assert place_words(moved_up.state.queue) == "2nd for cpu, after baseline"
    first.release()
    done = wait_for(store, third, ended)
    assert (done.status, done.state.queue) == ("completed", None)
    assert events(store, third)[0].startswith("Queued: waiting for cpu: ")


def test_a_queued_run_costs_little_and_can_be_stopped_but_not_deleted(
    store: RunStore, text: Path, first: Place
) -> None:
    second = store.create(tiny_config(text))
    owner = wait_for(store, second, waits).state.process
    assert owner is not None
    if sys.platform == "linux":
        mapped = [used.path for used in psutil.Process(owner.pid).memory_maps()]
        assert [path for path in mapped if "torch" in path or "numpy" in path] == []
    with pytest.raises(ConflictError, match="Stop it first"):
        store.delete(second)
    store.stop(second)
    stopped = wait_for(store, second, ended)
    assert (stopped.status, stopped.state.queue, stopped.state.error) == ("stopped", None, None)
    assert events(store, second)[-1] == "Stopped before it started."
    store.delete(second)


def test_a_queued_run_begins_before_its_turn_when_it_is_told_to(
    store: RunStore, text: Path, first: Place
) -> None:
    second = store.create(tiny_config(text))
    third = store.create(tiny_config(text))
    wait_for(store, third, waits)
    store.resume(third, now_anyway=True)
    assert wait_for(store, third, ended).status == "completed"
    with pytest.raises(ConflictError, match="does not wait for anything: it is completed"):
        store.start_now(third)
    hasty = store.create(tiny_config(text), now_anyway=True)
    assert store.get(hasty).state.queue is None
    wait_for(store, hasty, lambda run: run.status == "preparing")
    store.stop(hasty, kill=True)
    assert store.get(second).status == "queued"


def test_a_resumed_run_waits_too_and_a_killed_one_says_who_asked_for_it(
    store: RunStore, make_run: MakeRun, text: Path, first: Place
) -> None:
    stopped = make_run(status="stopped", config=tiny_config(text), step=5)
    stopped.paths.checkpoints.mkdir(parents=True)
    stopped.paths.checkpoint("latest").write_bytes(b"not read before its turn")
    run_id = stopped.run_id
    resumed = store.resume(run_id)
    assert resumed.state.queue is not None
    assert resumed.state.queue.ahead == ["first"]
    with pytest.raises(ConflictError, match="already active") as refused:
        store.resume(run_id)
    assert "--now-anyway" in refused.value.hint
    wait_for(store, run_id, waits)
    store.stop(run_id, kill=True)
    killed = wait_for(store, run_id, ended)
    assert killed.status == "interrupted"
    assert killed.state.error is not None
    assert "as was asked for" in killed.state.error.message


def test_a_run_that_falls_back_to_the_cpu_waits_for_the_cpu(
    store: RunStore, text: Path, first: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreseen = Wanted(("GPU-that-torch-cannot-use",), "cuda:0")
    monkeypatch.setattr(launch, "wanted_devices", lambda preference: foreseen)
    second = store.create(tiny_config(text, "device.preference=NoSuchCard9000"))
    assert store.get(second).state.queue is None
    waiting = wait_for(store, second, stands(2))
    assert waiting.status == "queued"
    assert place_words(waiting.state.queue) == "2nd for cpu, after baseline"
    first.release()
    done = wait_for(store, second, ended)
    assert (done.status, done.state.device) == ("completed", "cpu")
    assert "It trains on cpu, not on cuda:0." in events(store, second)
