"""What the index of runs reads, and when: nothing twice that stands still."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from tests.conftest import MakeRun
from trainer.index import RunIndex, folder_stamps
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store.files import write_record
from trainer.store.workspace import Workspace


class Reads:
    """An index that notes what it reads."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.ids: list[str] = []
        self.index = RunIndex(store.workspace, self._read)

    def _read(self, run_id: str) -> Run | None:
        self.ids.append(run_id)
        return self._store._glance(run_id)

    def look(self) -> list[str]:
        """Look, and return what was read for it."""
        self.ids = []
        self.index.look()
        return sorted(self.ids)


def edit(path: Path, content: bytes) -> None:
    """Write into a file in place, until its time shows it: that of files moves on in leaps."""
    before_ns = time.time_ns()
    while path.stat().st_ctime_ns <= before_ns:
        path.write_bytes(content)


@pytest.fixture
def reads(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """An index for which every file is old enough to be trusted."""
    monkeypatch.setattr("trainer.index.SETTLED_NS", -(10**18))
    return Reads(store)


def test_what_stands_still_is_read_once(reads: Reads, make_run: MakeRun) -> None:
    make_run(run_id="a")
    make_run(run_id="b")
    assert reads.look() == ["a", "b"]
    before = reads.index.look().runs
    assert reads.look() == []
    assert list(before) == ["b", "a"]
    assert reads.index.look().runs["a"] is before["a"]


def test_a_changed_run_is_read_again_and_the_others_stay(
    reads: Reads, make_run: MakeRun, store: RunStore
) -> None:
    runs = [make_run(run_id=run_id) for run_id in ("a", "b", "c")]
    reads.look()
    before = dict(reads.index.look().runs)
    store.annotate("b", name="new")
    make_run(run_id="d")
    store.delete("c")
    assert reads.look() == ["b", "d"]
    after = reads.index.look().runs
    assert list(after) == ["d", "b", "a"]
    assert after["b"].title == "new"
    assert after["a"] is before["a"]
    assert runs[2].run_id not in after


def test_an_active_run_is_read_at_every_look(reads: Reads, make_run: MakeRun) -> None:
    make_run(run_id="live", status="running", process=process.identify(os.getpid()))
    make_run(run_id="done")
    assert reads.look() == ["done", "live"]
    assert reads.look() == ["live"]


def test_a_process_that_vanishes_is_seen_without_a_change_of_any_file(
    reads: Reads, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(run_id="live", status="running", process=process.identify(os.getpid()))
    assert reads.index.look().runs["live"].status == "running"
    monkeypatch.setattr("trainer.store.process.is_alive", lambda record: False)
    assert reads.index.look().runs["live"].status == "interrupted"


def test_what_changed_just_now_may_change_again_under_the_same_time(
    store: RunStore, make_run: MakeRun
) -> None:
    reads = Reads(store)
    make_run(run_id="fresh")
    assert reads.look() == ["fresh"]
    assert reads.look() == ["fresh"]


def test_a_file_that_is_edited_in_place_is_seen_when_its_run_is_shown(
    reads: Reads, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(run_id="a")
    reads.look()
    monkeypatch.setattr("trainer.index.RUNS_IN_TURN", 0)
    edit(run.paths.state, run.paths.state.read_bytes().replace(b"completed", b"nonsense!"))
    monkeypatch.setattr("trainer.index.SETTLED_NS", 0)
    assert reads.look() == []
    look = reads.index.look_closely(["a"])
    assert look is not None
    assert look.runs["a"].state.error is not None


def test_files_edited_in_place_are_found_in_turns(
    reads: Reads, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run(run_id=run_id) for run_id in ("a", "b")]
    reads.look()
    monkeypatch.setattr("trainer.index.RUNS_IN_TURN", 1)
    monkeypatch.setattr("trainer.index.SETTLED_NS", 0)
    for run in runs:
        edit(run.paths.annotations, b'{"name": "edited"}')
    assert sorted([*reads.look(), *reads.look()]) == ["a", "b"]
    assert {run.title for run in reads.index.look().runs.values()} == {"edited"}


def test_damage_is_looked_at_again(reads: Reads, make_run: MakeRun) -> None:
    make_run(run_id="bad").paths.state.write_text("{")
    assert reads.look() == ["bad"]
    assert reads.look() == ["bad"]


def test_what_is_no_run_is_no_entry(reads: Reads, store: RunStore, make_run: MakeRun) -> None:
    make_run(run_id="a")
    (store.workspace.runs_dir / "notes").mkdir()
    (store.workspace.runs_dir / "UPPER").mkdir()
    (store.workspace.runs_dir / "file").write_text("")
    assert reads.look() == ["a", "file", "notes"]
    assert list(reads.index.look().runs) == ["a"]


def test_a_workspace_without_runs_has_no_stamps(tmp_path: Path) -> None:
    assert folder_stamps(Workspace(tmp_path)) == {}


def test_a_page_stays_in_its_place_while_runs_change(store: RunStore, make_run: MakeRun) -> None:
    for number in range(6):
        make_run(run_id=f"run-{number}", best_val_loss=float(number))
    first = store.list(sort="val_loss", limit=2)
    assert [run.run_id for run in first.runs] == ["run-0", "run-1"]
    store.delete("run-1")  # The very run after which the next page begins.
    moved = msgspec.structs.replace(store.get("run-0").state, best_val_loss=9.0)
    write_record(store.workspace.paths("run-0").state, moved)
    second = store.list(sort="val_loss", limit=2, cursor=first.next)
    assert [run.run_id for run in second.runs] == ["run-2", "run-3"]
    assert (second.total, len(second.of)) == (5, 5)
