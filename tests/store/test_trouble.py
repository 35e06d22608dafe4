"""Trouble is told in one block, whatever its length, and half of a block tells of none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.conftest import CREATED_AT
from trainer.store.records import Progress, State
from trainer.store.space import WAITING_FOR_SPACE
from trainer.store.trouble import (
    BLOCK_BYTES,
    Figures,
    Trouble,
    TroubleFile,
    encoded,
    meanwhile_words,
    over_words,
    read_trouble,
    unwritten_words,
)


def test_what_is_told_is_read_again_and_the_file_never_grows(tmp_path: Path) -> None:
    path = tmp_path / "trouble.json"
    file = TroubleFile(path)
    for messages in ({"folder": "No space."}, {"folder": "ü" * 900, "checkpoint": "c"}, {}):
        file.write(messages)
        told = read_trouble(path)
        assert told is not None
        assert told.messages == messages
        assert path.stat().st_size == BLOCK_BYTES
    file.remove()
    assert read_trouble(path) is None
    assert not path.exists()


def test_trouble_that_is_too_long_is_cut_to_one_block() -> None:
    assert len(encoded({"a": "x" * 9000, "b": "y"})) == BLOCK_BYTES
    assert b'"a":"first"' in encoded({"a": "first", "b": "y" * 9000})


def test_half_a_block_reads_as_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "trouble.json"
    for content in (b"", b'{"heartbeat_at": "x", "mess', b"[]", b"\xff\x00"):
        path.write_bytes(content)
        assert read_trouble(path) is None


def test_files_that_fail_alike_are_told_together() -> None:
    reasons = {"state.json": "no space left", "metrics.sqlite3": "no space left"}
    assert unwritten_words(reasons, "Training goes on") == (
        "state.json and metrics.sqlite3 cannot be written: no space left. Training goes on; what "
        "is missing is kept in memory and written later."
    )
    assert unwritten_words({}, "Training goes on") is None


SAVES = "; the run waits for space to save its last checkpoint"


@pytest.mark.parametrize(
    ("fields", "told", "words"),
    [
        ({"status": "preparing"}, {}, "The run goes on"),
        ({"status": "running"}, {}, "Training goes on"),
        ({"status": "running"}, {"waits": True}, "Training waits, for no more can be kept"),
        ({"status": "stopping"}, {}, "The run is stopping"),
        (
            {"status": "running", "phase": WAITING_FOR_SPACE},
            {},
            f"All steps are done{SAVES}",
        ),
        (
            {"status": "stopping", "phase": WAITING_FOR_SPACE},
            {},
            f"Training is stopped{SAVES}",
        ),
        (
            {"status": "running"},
            {"ending": "completed"},
            "All steps are done; the run waits until it can say so",
        ),
        (
            {"status": "running"},
            {"ending": "failed"},
            "The run has ended (failed) and tries to say so",
        ),
    ],
)
def test_what_becomes_of_the_run_meanwhile(
    fields: dict[str, Any], told: dict[str, Any], words: str
) -> None:
    assert meanwhile_words(a_state(**fields), **({"waits": False, "ending": None} | told)) == words


# ---------------------------------------------------------------------- the figures beside it


def a_state(**fields: Any) -> State:
    return State(**({"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT} | fields))


def test_the_figures_that_move_are_told_in_the_same_block(tmp_path: Path) -> None:
    progress = Progress(phase="evaluating", done=1, total=4, unit="tokens")
    now = a_state(status="running", step=1149, total_steps=2000, eta_seconds=5.0, progress=progress)
    file = TroubleFile(tmp_path / "trouble.json")
    file.write({"folder": "No space. " * 900}, now)
    told = read_trouble(tmp_path / "trouble.json")
    file.remove()
    assert told is not None
    assert told.figures == Figures.of(now)
    before = a_state(status="running", step=123, dataset="wikitext", heartbeat_uptime_seconds=1.0)
    seen = told.over(before)
    assert (seen.step, seen.eta_seconds, seen.progress, seen.dataset) == (
        1149,
        5.0,
        progress,
        "wikitext",
    )
    assert seen.heartbeat_uptime_seconds == told.heartbeat_uptime_seconds


def test_a_state_that_is_newer_than_the_trouble_stays() -> None:
    told = Trouble(
        heartbeat_at=CREATED_AT,
        heartbeat_uptime_seconds=9.0,
        figures=Figures.of(a_state(status="running", step=1)),
    )
    newer = a_state(status="running", step=2, heartbeat_uptime_seconds=9.5)
    assert told.over(newer) is newer


@pytest.mark.parametrize(
    ("seen", "told", "status", "phase"),
    [
        ("preparing", "running", "running", "training"),
        ("running", "stopping", "stopping", "training"),
        ("stopping", "running", "stopping", "training"),
        ("running", "completed", "running", "finishing"),
    ],
)
def test_the_status_that_is_told_beside_a_state(
    seen: Any, told: Any, status: str, phase: str
) -> None:
    figures = Figures.of(a_state(status=told, phase="training"))
    laid = figures.over(a_state(status=seen))
    assert (laid.status, laid.phase) == (status, phase)


def test_a_block_without_figures_is_that_of_an_older_version(tmp_path: Path) -> None:
    older = {"heartbeat_at": CREATED_AT, "heartbeat_uptime_seconds": 2.0, "messages": {"a": "b"}}
    (tmp_path / "trouble.json").write_bytes(msgspec.json.encode(older))
    told = read_trouble(tmp_path / "trouble.json")
    assert told is not None
    seen = told.over(a_state(step=5, heartbeat_uptime_seconds=1.0))
    assert (seen.step, seen.heartbeat_uptime_seconds) == (5, 2.0)


def test_the_end_of_trouble_in_words() -> None:
    assert over_words("No space left.", {}) == "There is space again."
    assert over_words("No space left.", {"b": "c"}) == "There is space again for some of it."
    assert over_words("The disk is slow.", {}) == "Over since now: The disk is slow."
