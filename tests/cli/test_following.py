"""Following a run: looks at its state, and the lines that its log gains."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CREATED_AT, MakeRun
from trainer.errors import VanishedError
from trainer.following import LogTail, looks, milestone
from trainer.runs import RunStore
from trainer.store.files import write_record
from trainer.store.process import identify
from trainer.store.records import State


def running(run_id: str, **changes: Any) -> State:
    """The state of a run whose process (any that lives) is this one."""
    fields: dict[str, Any] = {"status": "running", "process": identify(os.getpid())}
    return State(run_id=run_id, created_at=CREATED_AT, updated_at=CREATED_AT, **(fields | changes))


def test_the_last_look_is_the_one_at_which_the_run_has_ended(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    states = [running(run.run_id, step=2), running(run.run_id, status="completed", step=3)]
    write_record(run.paths.state, running(run.run_id, step=1))

    def next_state(_: float) -> None:
        write_record(run.paths.state, states.pop(0))

    assert [look.state.step for look in looks(store, run.run_id, 0, next_state)] == [1, 2, 3]


def test_a_run_deleted_meanwhile_ends_the_looking(store: RunStore) -> None:
    with pytest.raises(VanishedError, match=r"was deleted \(or moved\)"):
        list(looks(store, "gone", 0))


def test_a_milestone_is_a_twentieth_a_phase_or_an_evaluation() -> None:
    at_4_percent = running("a", step=4, total_steps=100, phase="training")
    assert milestone(at_4_percent) == milestone(
        running("a", step=1, total_steps=100, phase="training")
    )
    assert milestone(at_4_percent) != milestone(
        running("a", step=5, total_steps=100, phase="training")
    )
    assert milestone(at_4_percent) != milestone(
        running("a", step=4, total_steps=100, phase="saving")
    )
    assert milestone(running("a", val_loss=2.0)) != milestone(running("a", val_loss=1.0))


def test_a_log_is_read_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    log = LogTail(path)
    assert log.new_lines() == []
    path.write_bytes(b"one\ntw")
    assert log.new_lines() == ["one"]
    path.write_bytes(b"one\ntwo\nthr")
    assert log.new_lines() == ["two"]
    assert log.new_lines(final=True) == ["thr"]
    assert log.new_lines(final=True) == []


def test_a_log_can_be_followed_from_its_end_and_survives_being_cut(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"old\n")
    log = LogTail(path, from_end=True)
    assert log.new_lines() == []
    path.write_bytes(b"a\n")
    assert log.new_lines() == ["a"]
