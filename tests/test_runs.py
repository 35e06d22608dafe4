"""What viewers may do with runs, on made-up run folders: no process is started here."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import MakeRun
from tests.store.test_checkpoints import checkpoint as a_checkpoint
from trainer import config as configuration
from trainer import formats
from trainer.config import Config, assignments, build
from trainer.errors import ConflictError, NotFoundError, UsageError
from trainer.formats import parse_time
from trainer.runs import (
    RunStore,
    extended,
    phase_words,
    progress_percent,
    tail,
    warning,
)
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.lock import RunLock
from trainer.store.records import ErrorRecord, Progress, State
from trainer.store.stop_request import StopRequest, write_stop_request


def me() -> object:
    return process.identify(os.getpid())


def with_checkpoint(run_folder: Path, name: str = "latest", **facts: object) -> None:
    run_folder.mkdir(parents=True, exist_ok=True)
    (run_folder / f"{name}.pt").write_bytes(b"x")
    facts = {"step": 10, "epoch": 1, "bytes": 1} | facts
    (run_folder / f"{name}.pt.json").write_text(json.dumps(facts))


# ---------------------------------------------------------------------- finding


def test_an_empty_workspace_has_no_runs(store: RunStore) -> None:
    page = store.list()
    assert (page.runs, page.total, page.next) == ([], 0, None)
    with pytest.raises(NotFoundError, match="no runs yet"):
        store.resolve("latest")


def test_a_prefix_is_enough_when_it_is_unambiguous(store: RunStore, make_run: MakeRun) -> None:
    make_run(run_id="20260101-aaaa")
    make_run(run_id="20260102-bbbb")
    assert store.resolve("20260102") == "20260102-bbbb"
    assert store.resolve("latest") == "20260102-bbbb"
    with pytest.raises(UsageError, match="2 runs begin with '2026'"):
        store.resolve("2026")
    with pytest.raises(NotFoundError):
        store.resolve("1999")


@pytest.mark.parametrize(
    "run_id", ["..", "../x", "a/b", "A", "", "a\n", "-a", "a" * 65, ".trash", "a\x00"]
)
def test_what_is_not_a_run_id_never_becomes_a_path(store: RunStore, run_id: str) -> None:
    with pytest.raises(NotFoundError):
        store.get(run_id)


def test_pages_follow_each_other(store: RunStore, make_run: MakeRun) -> None:
    for number in range(5):
        make_run(run_id=f"run-{number}")
    first = store.list(limit=2)
    second = store.list(limit=2, cursor=first.next)
    third = store.list(limit=2, cursor=second.next)
    names = [run.run_id for page in (first, second, third) for run in page.runs]
    assert names == ["run-4", "run-3", "run-2", "run-1", "run-0"]
    assert first.total == 5
    assert third.next is None


def test_filters_sorts_and_pins(store: RunStore, make_run: MakeRun) -> None:
    make_run(run_id="a", name="Small one", tags=["x"], best_val_loss=3.0, dataset="WikiText-2")
    make_run(run_id="b", status="failed", best_val_loss=2.0)
    make_run(run_id="c", status="stopped")

    def ids(**options: Any) -> list[str]:
        return [run.run_id for run in store.list(**options).runs]

    assert ids(query="small WIKI") == ["a"]
    assert ids(tag="x") == ["a"]
    assert ids(status="failed") == ["b"]
    assert ids(sort="val_loss") == ["b", "a", "c"]
    assert ids(sort="-val_loss") == ["a", "b", "c"]
    store.annotate("c", pinned=True)
    assert ids(sort="val_loss") == ["c", "b", "a"]
    store.annotate("a", archived=True)
    assert ids() == ["c", "b"]
    assert ids(archived=True) == ["a"]


@pytest.mark.parametrize(
    "options", [{"status": "dead"}, {"sort": "colour"}, {"limit": 0}, {"cursor": "nowhere"}]
)
def test_a_list_that_cannot_be_is_refused(store: RunStore, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        store.list(**options)


def test_a_damaged_run_is_shown_and_hides_no_other(store: RunStore, make_run: MakeRun) -> None:
    make_run(run_id="good")
    make_run(run_id="bad").paths.state.write_text("{")
    runs = {run.run_id: run for run in store.list().runs}
    assert runs["bad"].state.error is not None
    assert "damaged" in runs["bad"].state.error.message
    assert runs["good"].status == "completed"


# ---------------------------------------------------------------------- the true status


def test_a_run_whose_process_is_gone_is_interrupted(store: RunStore, make_run: MakeRun) -> None:
    dead = {"pid": 2**22 + 1, "boot_id": process.boot_id(), "start_ticks": 1}
    run = make_run(status="running", process=dead, phase="training", eta_seconds=5.0)
    assert run.status == "interrupted"
    assert run.state.error is not None
    assert "without a goodbye" in run.state.error.message
    assert run.state.eta_seconds is None
    assert store.get(run.run_id).as_dict()["process"] is None


def test_a_run_from_before_a_restart_of_the_machine_says_so(make_run: MakeRun) -> None:
    run = make_run(status="running", process={"pid": 1, "boot_id": "old", "start_ticks": 1})
    assert run.state.error is not None
    assert "restarted" in run.state.error.message


def test_what_is_advised_depends_on_whether_there_is_a_checkpoint(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="running")
    assert run.state.error is not None
    assert run.state.error.hint == (
        "It had done no step that was saved. To start it anew: llm-trainer train --config "
        f"{run.paths.config}"
    )
    with_checkpoint(run.paths.checkpoints)
    error = store.get(run.run_id).state.error
    assert error is not None
    assert error.hint == (
        "Resume the run to go on from its last checkpoint; worker.log may say more."
    )


def test_a_run_that_was_ended_as_asked_sends_nobody_to_the_log(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="running")
    with_checkpoint(run.paths.checkpoints)
    write_stop_request(run.paths, StopRequest.made_now(0.0, "request"))
    error = store.get(run.run_id).state.error
    assert error is not None
    assert error.message.endswith("was ended at once, as was asked for.")
    assert error.hint == "Resume the run to go on from its last checkpoint."


def test_a_run_that_was_killed_on_request_says_so(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="running")
    write_stop_request(run.paths, StopRequest.made_now(0.0, killed_for="request"))
    error = store.get(run.run_id).state.error
    assert error is not None
    assert "as was asked for" in error.message


def test_a_run_with_a_living_process_is_what_it_says(make_run: MakeRun) -> None:
    assert make_run(status="running", process=me()).status == "running"


def test_a_run_being_started_is_queued_while_its_lock_is_held(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="queued")
    held = RunLock.acquire(run.paths.lock)
    assert held is not None
    assert store.get(run.run_id).status == "queued"
    held.release()
    assert store.get(run.run_id).status == "interrupted"


# ---------------------------------------------------------------------- checkpoints


def test_checkpoints_are_listed_latest_best_then_newest_epochs(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    for name, step in (("epoch-1", 10), ("best", 20), ("epoch-2", 20), ("latest", 25)):
        with_checkpoint(run.paths.checkpoints, name, step=step)
    names = [checkpoint.name for checkpoint in store.checkpoints(run.run_id)]
    assert names == ["latest", "best", "epoch-2", "epoch-1"]


def test_a_missing_checkpoint_is_told_with_those_there_are(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    with_checkpoint(run.paths.checkpoints)
    with pytest.raises(NotFoundError, match="There is: latest"):
        store.checkpoint_path(run.run_id, "epoch-9")


def test_a_run_without_its_latest_is_resumed_from_what_there_is(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = make_run(status="stopped"), []
    monkeypatch.setattr("trainer.runs.restart_run", lambda *given, **named: asked.append(given[-1]))
    with pytest.raises(NotFoundError, match="no checkpoint 'latest'"):
        store.resume(run.run_id)
    with_checkpoint(run.paths.checkpoints, "epoch-1")
    store.resume(run.run_id)
    assert asked == ["latest"]
    with pytest.raises(NotFoundError, match="no checkpoint 'best'"):
        store.resume(run.run_id, source="best")


@pytest.mark.parametrize("name", ["../latest", "epoch-", "epoch-1/..", "epoch-²", "x", ""])
def test_a_name_that_is_no_checkpoint_is_refused(
    store: RunStore, make_run: MakeRun, name: str
) -> None:
    with pytest.raises(UsageError, match="not a checkpoint"):
        store.checkpoint_path(make_run().run_id, name)


# ---------------------------------------------------------------------- doing


def test_an_active_run_cannot_be_resumed_and_its_owner_is_named(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="running", process=me())
    with pytest.raises(ConflictError, match=f"process {os.getpid()} owns it"):
        store.resume(run.run_id)


def test_a_complete_run_asks_for_more_epochs(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="completed", epochs=3)
    with_checkpoint(run.paths.checkpoints)
    with pytest.raises(ConflictError, match="--more-epochs"):
        store.resume(run.run_id)


def test_going_on_from_the_last_step_of_a_complete_run_asks_for_more_epochs_too(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("trainer.runs.restart_run", lambda *given, **named: asked.append(given[-1]))
    run = make_run(status="completed", step=20, total_steps=20)
    with_checkpoint(run.paths.checkpoints)
    a_checkpoint(run.paths.checkpoints, "best", 20)
    a_checkpoint(run.paths.checkpoints, "epoch-1", 10)
    with pytest.raises(ConflictError, match="'best' is of that step"):
        store.resume(run.run_id, source="best")
    store.resume(run.run_id, source="epoch-1")
    assert asked == ["epoch-1"]


def test_a_run_without_a_checkpoint_cannot_be_resumed(store: RunStore, make_run: MakeRun) -> None:
    with pytest.raises(NotFoundError, match="no checkpoint 'latest'"):
        store.resume(make_run(status="failed").run_id)


def test_the_loser_of_two_resumes_is_told(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="stopped")
    with_checkpoint(run.paths.checkpoints)
    held = RunLock.acquire(run.paths.lock)
    assert held is not None
    with pytest.raises(ConflictError, match="already active"):
        store.resume(run.run_id)
    held.release()


def test_an_ended_run_cannot_be_stopped(store: RunStore, make_run: MakeRun) -> None:
    with pytest.raises(ConflictError, match="not active: it is completed"):
        store.stop(make_run().run_id)


def test_more_epochs_move_the_end() -> None:
    config = extended(Config(), State(run_id="a", created_at="", updated_at=""), 2)
    assert config.training.epochs == 5


def test_more_epochs_of_a_run_cut_short_by_max_steps_add_whole_epochs() -> None:
    config = build(assignments(["training.max_steps=50"]))
    state = State(run_id="a", created_at="", updated_at="", total_steps=50, steps_per_epoch=40)
    longer = extended(config, state, 2)
    assert longer.training.max_steps == 130
    assert longer.training.epochs == 5


def test_the_first_epochs_of_an_imported_run_end_where_its_max_steps_says() -> None:
    config = build(assignments(["training.max_steps=6", "training.epochs=7"]))
    state = State(run_id="a", created_at="", updated_at="", epochs=0, total_steps=0)
    first = extended(config, state, 1).training
    assert (first.epochs, first.max_steps) == (1, 6)


def test_annotations_are_merged_and_kept(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(name="old", tags=["a", "b"])
    changed = store.annotate(
        run.run_id, add_tags=["c", "a"], remove_tags=["b"], notes="line\nline", pinned=True
    )
    assert changed.annotations.tags == ["a", "c"]
    assert changed.annotations.name == "old"
    assert changed.annotations.notes == "line\nline"
    assert store.annotate(run.run_id, name="").title == run.run_id


def test_a_tag_never_holds_a_comma(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(tags=["old, one"])
    tagged = store.annotate(run.run_id, add_tags=["batch-a, Ä ü", "b,"])
    assert tagged.annotations.tags == ["old, one", "batch-a", "Ä ü", "b"]
    freed = store.annotate(run.run_id, remove_tags=["old, one", "b,batch-a"])
    assert freed.annotations.tags == ["Ä ü"]
    assert store.annotate(run.run_id, tags=["x,y"]).annotations.tags == ["x", "y"]


def test_annotations_from_many_sides_lose_none(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    threads = [
        threading.Thread(target=store.annotate, args=(run.run_id,), kwargs={"add_tags": [f"t{n}"]})
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.get(run.run_id).annotations.tags) == {f"t{n}" for n in range(12)}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 121},
        {"name": "a\nb"},
        {"add_tags": [""]},
        {"add_tags": [" x"]},
        {"add_tags": ["x" * 41]},
        {"add_tags": [" , "]},
        {"notes": "x" * 20_001},
    ],
)
def test_an_annotation_that_would_break_a_table_is_refused(
    store: RunStore, make_run: MakeRun, change: dict[str, Any]
) -> None:
    with pytest.raises(UsageError):
        store.annotate(make_run().run_id, **change)


def test_a_deleted_run_can_be_brought_back(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(name="dear")
    with_checkpoint(run.paths.checkpoints)
    store.delete(run.run_id)
    assert store.list().total == 0
    assert not run.paths.checkpoints.exists()
    restored = store.restore(run.run_id)
    assert restored is not None
    assert restored.title == "dear"
    assert [c.name for c in store.checkpoints(run.run_id)] == ["latest"]


def test_the_trash_is_emptied_for_good(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    store.delete(run.run_id)
    assert store.empty_trash(older_than_seconds=3600) == 0
    assert store.empty_trash() == 1
    with pytest.raises(NotFoundError):
        store.restore(run.run_id)


def test_a_deleted_run_is_told_with_its_size_and_how_long_it_is_kept(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(name="dear", status="stopped")
    with_checkpoint(run.paths.checkpoints)
    store.delete(run.run_id)
    (deleted,) = store.deleted()
    assert (deleted.run_id, deleted.title, deleted.status) == (run.run_id, "dear", "stopped")
    kept = parse_time(deleted.kept_until) - parse_time(deleted.deleted_at)
    assert kept.total_seconds() == 24 * 3600
    folders = (store.workspace.runs_dir / ".trash", store.workspace.checkpoints_dir / ".trash")
    files = [path for folder in folders for path in folder.rglob("*")]
    inner = [path for path in files if path.name != run.run_id]
    assert deleted.bytes == sum(path.stat().st_blocks * 512 for path in inner)


def test_what_was_deleted_a_day_ago_goes_with_the_next_deletion(
    store: RunStore, make_run: MakeRun
) -> None:
    old, new = make_run(run_id="old"), make_run(run_id="new")
    store.delete("old")
    trashed = store.workspace.runs_dir / ".trash" / "old"
    yesterday = trashed.stat().st_mtime - 24 * 3600
    os.utime(trashed, (yesterday, yesterday))
    assert formats.kept_for(store.deleted()[0].kept_until) == "goes next"
    store.delete("new")
    assert [run.run_id for run in store.deleted()] == [new.run_id]
    assert not old.paths.folder.exists()


def test_a_removal_that_was_broken_off_is_ended_by_the_next(
    store: RunStore, make_run: MakeRun
) -> None:
    make_run(run_id="a")
    store.delete("a")
    trash = store.workspace.runs_dir / ".trash"
    (trash / "a").rename(trash / ".removing-a")
    assert store.deleted() == []
    with pytest.raises(NotFoundError, match="no deleted run 'a'"):
        store.restore("a")
    store.empty_trash()
    assert list(trash.iterdir()) == []


def test_one_run_is_removed_for_good(store: RunStore, make_run: MakeRun) -> None:
    for run_id in ("a", "b"):
        make_run(run_id=run_id)
        store.delete(run_id)
    store.remove_for_good("a")
    assert [run.run_id for run in store.deleted()] == ["b"]
    with pytest.raises(NotFoundError, match="no deleted run 'a'"):
        store.remove_for_good("a")


def test_an_active_run_cannot_be_deleted(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="running", process=me())
    with pytest.raises(ConflictError, match="Stop it first"):
        store.delete(run.run_id)
    assert run.paths.folder.exists()


# ---------------------------------------------------------------------- small pure parts


def test_the_tail_of_a_log_is_read_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("".join(f"line {n}\n" for n in range(50_000)))
    assert tail(path, 3) == ["line 49997", "line 49998", "line 49999"]
    assert tail(tmp_path / "none", 3) == []


def test_a_short_log_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_text("a\nb")
    assert tail(path, 10) == ["a", "b"]


def test_progress_in_percent() -> None:
    state = State(run_id="a", created_at="", updated_at="", step=30, total_steps=120)
    assert progress_percent(state) == 25.0
    assert progress_percent(State(run_id="a", created_at="", updated_at="")) is None


def test_a_phase_in_words() -> None:
    state = State(run_id="a", created_at="", updated_at="", status="preparing", phase="tokenizing")
    assert phase_words(state) == "tokenizing"
    state.progress = Progress(phase="tokenizing", done=1000, total=4000, unit="documents")
    assert phase_words(state) == "tokenizing: 1,000 of 4,000 documents"


def test_the_state_of_a_run_is_answered_with_its_annotations(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(name="n", tags=["t"])
    answer = store.get(run.run_id).as_dict()
    assert answer["schema"] == 1
    assert (answer["name"], answer["tags"], answer["archived"]) == ("n", ["t"], False)
    assert answer["val_loss"] is None
    assert json.loads(json.dumps(answer)) == answer


def test_the_stored_configuration_is_the_resolved_one(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    assert store.config(run.run_id) == configuration.resolved(Config())
    assert "[training]" in store.config_text(run.run_id)


def test_meta_that_is_missing_is_told(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.meta.unlink()
    with pytest.raises(NotFoundError, match=r"no meta\.json"):
        store.meta(run.run_id)


def test_a_record_of_state_survives_unknown_fields_of_a_later_patch(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    raw = json.loads(run.paths.state.read_text())
    run.paths.state.write_text(json.dumps(raw | {"new_field": 1}))
    assert store.get(run.run_id).status == "completed"
    write_record(run.paths.state, run.state)


def test_what_a_list_must_not_hide(make_run: MakeRun) -> None:
    run = make_run()
    assert warning(run) is None
    assert warning(replace(run, trouble="No space.")) == ("cannot be written", "No space.")
    owner = msgspec.structs.replace(run.state, process=process.identify(os.getpid()))
    assert warning(replace(run, state=owner, trouble="No space.", paused=True)) == (
        "paused",
        f"paused by kill -STOP; kill -CONT {os.getpid()} lets it go on",
    )
    assert warning(replace(run, damage=("Name is lost.",))) == ("damaged", "Name is lost.")
    error = ErrorRecord(kind="store", message="It is damaged.", hint="Resume it.")
    damaged = replace(run, state=msgspec.structs.replace(run.state, error=error))
    assert warning(damaged) == ("damaged", "It is damaged. Resume it.")
