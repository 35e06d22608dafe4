"""What is told of a run whose process is gone, silent or asked to stop."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.conftest import CREATED_AT, MakeRun
from trainer.runs import Run, RunStore
from trainer.store import process, truth
from trainer.store.lock import RunLock
from trainer.store.records import ProcessRecord, State
from trainer.store.stop_request import (
    KilledFor,
    StopRequest,
    default_deadline_seconds,
    write_stop_request,
)
from trainer.store.truth import crash_words, death_words, killed_words, silent_seconds

GONE = ProcessRecord(pid=2**22 + 1, boot_id=process.boot_id(), start_ticks=1)
NO_KILLS = {"cgroup_file": None, "in_cgroup": None, "on_machine": 0}


def a_state(**changes: Any) -> State:
    fields = {"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT}
    return State(**(fields | changes))


def cause(run: Run) -> str:
    assert run.status == "interrupted"
    assert run.state.error is not None
    return run.state.error.message


def seen_again(store: RunStore, run: Run) -> Run:
    return store.get(run.run_id)


# ---------------------------------------------------------------------- why it is gone


def test_a_process_that_vanished_is_told_by_the_kernels_counts(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "oom_kills_since", lambda _: 0)
    run = make_run(status="running", process=GONE, heartbeat_at=CREATED_AT, oom_kills=NO_KILLS)
    assert cause(run) == (
        f"The training process {GONE.pid} is gone without a goodbye, last heard of at "
        "2026-01-02 03:04:05 UTC: it was killed (kill -9, or the terminal, session or container "
        "that it ran in ended), and not by the kernel for lack of memory."
    )


def test_a_lack_of_memory_is_told_with_what_helps(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truth, "oom_kills_since", lambda _: 2)
    run = make_run(status="running", process=GONE, oom_kills=NO_KILLS)
    assert cause(run) == (
        f"The training process {GONE.pid} is gone without a goodbye: probably out of memory, for "
        "the kernel has killed 2 processes for lack of memory since."
    )
    assert run.state.error is not None
    assert "Lower training.batch_size" in run.state.error.hint


def test_without_counts_both_are_possible() -> None:
    assert death_words(None) == "it was killed, or ran out of memory"
    assert death_words(1).endswith("killed 1 process for lack of memory since")


@pytest.mark.parametrize(
    ("killed_for", "words"),
    [
        (None, None),
        ("request", "was ended at once, as was asked for"),
        ("deadline", "did not end within its deadline of 90 s and was killed"),
    ],
)
def test_what_this_program_killed_it_owns_up_to(
    killed_for: KilledFor | None, words: str | None
) -> None:
    assert killed_words(StopRequest.made_now(90.0, killed_for)) == words


def test_a_request_from_nobody_knows_when_explains_no_death(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="running", process=GONE)
    run.paths.stop_request.write_text('{"now": tr')
    assert "without a goodbye" in cause(seen_again(store, run))


# ---------------------------------------------------------------------- what it said last

CRASH = """Process 7 begins.
2026-01-02T03:04:05.678Z INFO step 1
Fatal Python error: Segmentation fault

Current thread 0x00007f (most recent call first):
  File "loop.py", line 12 in fit

Extension modules: numpy (total: 1)
"""
UNCAUGHT = """Process 7 begins.
Traceback (most recent call last):
  File "worker.py", line 9, in <module>
    import torch
    ^^^^^^^^^^^^
ModuleNotFoundError: No module named 'torch'
"""


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", None),
        ("Process 7 begins.\n2026-01-02T03:04:05.678Z INFO step 1\n", None),
        (CRASH, "it crashed (Segmentation fault; worker.log says where)"),
        (CRASH + "Process 8 begins.\nall is well\n", None),
        (UNCAUGHT, "it ended by an error (ModuleNotFoundError: No module named 'torch')"),
        (UNCAUGHT + "and went on\n", None),
        ("Exception in thread x:\n" + UNCAUGHT.partition("\n")[2], None),
        ("  indented\nonly\n", None),
        (
            "2026-01-02T03:04:05.678Z ERROR The run cannot begin: No space left.\n",
            "it could not begin (No space left)",
        ),
    ],
)
def test_the_end_of_the_log_may_tell_how_a_process_ended(printed: str, words: str | None) -> None:
    assert crash_words(printed) == words


def test_a_crash_is_told_before_the_counts_are_asked(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="running", process=GONE, oom_kills=NO_KILLS)
    run.paths.worker_log.write_text("x" * 100_000 + "\n" + CRASH)
    assert cause(seen_again(store, run)).endswith(
        "it crashed (Segmentation fault; worker.log says where)."
    )


# ---------------------------------------------------------------------- asked to stop, or silent


def test_a_run_is_stopping_as_soon_as_it_was_asked_to(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="running", process=process.identify(os.getpid()))
    write_stop_request(run.paths, StopRequest.made_now(3600.0))
    asked = seen_again(store, run)
    assert asked.status == "stopping"
    assert asked.stop is not None
    assert asked.as_dict()["stop"]["requested_at"] == asked.stop.requested_at


def test_a_request_that_outlived_its_run_stops_nothing(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="completed")
    write_stop_request(run.paths, StopRequest.made_now(3600.0))
    assert seen_again(store, run).status == "completed"
    assert seen_again(store, run).as_dict()["stop"] is None


def test_the_seconds_until_the_deadline_are_rounded_up() -> None:
    request = StopRequest.made_now(60.0)
    end = request.deadline_uptime_seconds
    assert request.seconds_left(end - 41.5) == 42
    assert request.seconds_left(end) == 0
    assert request.seconds_left(end + 5.0) == 0


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 60.0),
        ({"step": 10, "tokens": 1000, "tokens_per_second": 1000.0, "parameters": 1000}, 60.0),
        # A step of 40 s, and 1.2 GB that a slow disk takes 24 s to write.
        (
            {"step": 10, "tokens": 400_000, "tokens_per_second": 1000.0, "parameters": 10**8},
            3 * (40.0 + 24.0),
        ),
    ],
)
def test_a_run_gets_a_minute_or_what_its_own_figures_ask_for(
    changes: dict[str, Any], seconds: float
) -> None:
    assert default_deadline_seconds(a_state(**changes)) == seconds


@pytest.mark.parametrize(
    ("uptime", "told"), [(1009.9, None), (1010.0, 10), (1042.7, 42), (0, None)]
)
def test_a_silence_is_told_from_ten_seconds_on(uptime: float, told: int | None) -> None:
    heard = a_state(status="running", process=GONE, heartbeat_uptime_seconds=1000.0)
    assert silent_seconds(heard, uptime) == told


@pytest.mark.parametrize(
    "changes",
    [{"status": "completed", "process": GONE}, {"status": "queued"}, {"heartbeat": None}],
)
def test_nobody_is_silent_who_has_no_process_or_was_never_heard(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"status": "running", "heartbeat_uptime_seconds": 1.0} | changes
    if "heartbeat" in changes:
        fields |= {"process": GONE, "heartbeat_uptime_seconds": fields.pop("heartbeat")}
    assert silent_seconds(a_state(**fields), 1000.0) is None


# ---------------------------------------------------------------------- never a false death


@pytest.mark.parametrize("heartbeat", ["1970-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"])
def test_no_wall_clock_makes_a_death(make_run: MakeRun, heartbeat: str) -> None:
    me = process.identify(os.getpid())
    assert make_run(status="running", process=me, heartbeat_at=heartbeat).status == "running"


def test_a_lock_that_somebody_holds_is_a_sign_of_life(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(status="running", process=GONE)
    held = RunLock.acquire(run.paths.lock)
    assert held is not None
    assert seen_again(store, run).status == "running"
    held.release()
    assert seen_again(store, run).status == "interrupted"
