"""How a run is asked to end, and is ended when it does not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from trainer import deadline
from trainer.errors import ConflictError, StoreError
from trainer.runs import Run, RunStore, status_word, urgent_words
from trainer.stopping import StopFlag, StopRequested
from trainer.store import process, stop_request
from trainer.store.lock import RunLock
from trainer.store.records import ProcessRecord
from trainer.store.stop_request import (
    StopRequest,
    read_stop_request,
    release_reserve,
    reserve_stop_request,
    write_stop_request,
)
from webapp import create_app


@pytest.fixture
def flag(tmp_path: Path) -> Iterator[StopFlag]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    made = StopFlag(tmp_path / "stop.json")
    made.listen()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_is_a_request_to_save_and_end(flag: StopFlag) -> None:
    assert not flag.requested
    os.kill(os.getpid(), signal.SIGTERM)
    assert flag.requested


def test_a_request_file_is_as_good_as_a_signal(flag: StopFlag, tmp_path: Path) -> None:
    flag.poll()
    assert not flag.requested
    (tmp_path / "stop.json").write_text("{}")
    flag.poll()
    assert flag.requested


def test_a_request_that_was_there_before_the_process_counts(tmp_path: Path) -> None:
    (tmp_path / "stop.json").write_text("{}")
    assert StopFlag(tmp_path / "stop.json").requested


def test_the_preparation_is_abandoned_at_once(flag: StopFlag) -> None:
    with pytest.raises(StopRequested), flag.abandoning():
        os.kill(os.getpid(), signal.SIGTERM)


def test_the_preparation_does_not_begin_after_a_request(flag: StopFlag) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested), flag.abandoning():
        pass


# ---------------------------------------------------------------------- the deadline

STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child:
    print(child, flush=True)
while True:
    time.sleep(60)
"""


class Stubborn:
    """A process that leads a session, has a child, and takes no notice of a request to end."""

    def __init__(self) -> None:
        self.leader = subprocess.Popen(
            [sys.executable, "-c", STUBBORN],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.leader.stdout is not None
        child = process.identify(int(self.leader.stdout.readline()))
        record = process.identify(self.leader.pid)
        assert child is not None
        assert record is not None
        self.record: ProcessRecord = record
        self.child: ProcessRecord = child

    def end(self) -> None:
        process.kill_group(self.record)
        self.leader.wait()
        assert self.leader.stdout is not None
        self.leader.stdout.close()


@pytest.fixture
def stubborn() -> Iterator[Stubborn]:
    made = Stubborn()
    yield made
    made.end()


@pytest.fixture
def run(make_run: MakeRun, stubborn: Stubborn) -> Run:
    """A run whose worker takes no notice."""
    return make_run(status="running", process=stubborn.record)


@pytest.mark.parametrize("stopped", [False, True], ids=["busy", "stopped by SIGSTOP"])
def test_who_does_not_end_by_the_deadline_is_killed_with_the_whole_group(
    store: RunStore, run: Run, stubborn: Stubborn, stopped: bool
) -> None:
    if stopped:
        os.kill(stubborn.record.pid, signal.SIGSTOP)
    write_stop_request(run.paths, StopRequest.made_now(30.0))
    assert deadline.enforce(run.paths, stubborn.record, time.monotonic())
    assert process.wait_for_end(stubborn.child, 60.0)
    told = store.get(run.run_id)
    assert told.status == "interrupted"
    assert told.state.error is not None
    assert told.state.error.message == (
        f"The training process {stubborn.record.pid} did not end within its deadline of 30 s and "
        "was killed."
    )


def test_who_ends_in_time_is_left_alone(run: Run, stubborn: Stubborn) -> None:
    write_stop_request(run.paths, StopRequest.made_now(3600.0))
    stubborn.end()
    assert not deadline.enforce(run.paths, stubborn.record, time.monotonic() + 3600.0)
    request = read_stop_request(run.paths)
    assert request is not None
    assert request.killed_for is None


def test_a_stop_starts_a_process_that_holds_the_run_to_its_deadline(
    store: RunStore, run: Run, stubborn: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.runs.STOP_ACKNOWLEDGE_SECONDS", 0.0)
    asked = store.stop(run.run_id, deadline_seconds=3600.0)
    assert asked.status == "stopping"
    assert asked.stop is not None
    assert asked.stop.enforcer is not None
    assert os.getsid(asked.stop.enforcer.pid) == asked.stop.enforcer.pid
    stubborn.end()
    assert process.wait_for_end(asked.stop.enforcer, 60.0)


def test_the_nearest_deadline_counts(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    def start(*arguments: Any) -> ProcessRecord | None:
        starts.append(arguments[-1])
        return process.identify(os.getpid())

    def seconds(wanted: float) -> float:
        request = store.stop(run.run_id, deadline_seconds=wanted).stop
        assert request is not None
        return request.deadline_seconds

    monkeypatch.setattr(deadline, "_start", start)
    monkeypatch.setattr(RunStore, "wait", lambda store, run_id, *_, **__: store.get(run_id))
    assert [seconds(wanted) for wanted in (600.0, 900.0, 300.0, 300.0)] == [600, 600, 300, 300]
    assert len(starts) == 2


def test_killing_leaves_word_of_why(store: RunStore, run: Run, stubborn: Stubborn) -> None:
    killed = store.stop(run.run_id, kill=True)
    assert killed.status == "interrupted"
    assert killed.state.error is not None
    assert killed.state.error.message.endswith("was ended at once, as was asked for.")
    assert process.wait_for_end(stubborn.child, 60.0)


def test_a_full_disk_does_not_keep_a_run_from_being_asked(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr(deadline, "write_stop_request", full_disk)
    monkeypatch.setattr(deadline, "_start", lambda *_: None)
    monkeypatch.setattr(
        "trainer.deadline.process.send_signal", lambda record, _: sent.append(record.pid)
    )
    monkeypatch.setattr(RunStore, "wait", lambda store, run_id, *_, **__: store.get(run_id))
    store.stop(run.run_id)
    assert run.state.process is not None
    assert sent == [run.state.process.pid]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_on_a_full_disk_a_request_takes_the_place_reserved_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve_stop_request(run.paths)
    assert run.paths.stop_reserve.stat().st_blocks > 0
    monkeypatch.setattr(stop_request, "write_record", full_disk)
    asked = StopRequest.made_now(8.0)
    for request in (asked, msgspec.structs.replace(asked, killed_for="deadline"), asked):
        write_stop_request(run.paths, request)
        assert read_stop_request(run.paths) == request
        assert run.paths.stop_request.stat().st_size == stop_request.RESERVE_BYTES
    assert not run.paths.stop_reserve.exists()


def test_on_a_full_disk_a_request_takes_the_place_of_the_one_before(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = StopRequest.made_now(8.0)
    write_stop_request(run.paths, asked)
    monkeypatch.setattr(stop_request, "write_record", full_disk)
    write_stop_request(run.paths, msgspec.structs.replace(asked, killed_for="deadline"))
    told = read_stop_request(run.paths)
    assert told is not None
    assert (told.killed_for, told.deadline_seconds) == ("deadline", 8.0)


def test_without_a_reserve_a_full_disk_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_request, "write_record", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_stop_request(run.paths, StopRequest.made_now(8.0))
    assert not run.paths.stop_request.exists()


def test_a_reserve_is_made_again_over_the_one_of_a_dead_run_and_given_back(run: Run) -> None:
    for _ in range(2):
        reserve_stop_request(run.paths)
    assert run.paths.stop_reserve.stat().st_size == stop_request.RESERVE_BYTES
    for _ in range(2):
        release_reserve(run.paths)
    assert not run.paths.stop_reserve.exists()


# ---------------------------------------------------------------------- held up by SIGSTOP


def test_a_run_held_by_sigstop_is_told_as_paused_at_once_and_as_nothing_else(
    store: RunStore, make_run: MakeRun, stubborn: Stubborn
) -> None:
    paused_words = f"paused by kill -STOP; kill -CONT {stubborn.record.pid} lets it go on"
    run = make_run(
        status="running",
        process=stubborn.record,
        eta_seconds=17.0,
        heartbeat_uptime_seconds=time.monotonic() - 60,
    )
    assert not run.paused
    os.kill(stubborn.record.pid, signal.SIGSTOP)
    # The parent is told when its child has stopped.
    os.waitpid(stubborn.record.pid, os.WUNTRACED)
    seen = store.get(run.run_id)
    assert (seen.status, status_word(seen), seen.silent_seconds) == ("running", "paused", None)
    assert seen.state.eta_seconds is None
    assert urgent_words(seen) == [paused_words]
    assert seen.as_dict()["paused"] is True
    assert paused_words in client_of(store).get(f"/runs/{run.run_id}").text
    assert 'data-status="paused"' in client_of(store).get("/").text
    os.kill(stubborn.record.pid, signal.SIGCONT)
    os.waitpid(stubborn.record.pid, os.WCONTINUED)
    assert store.get(run.run_id).state.eta_seconds == 17.0


def client_of(store: RunStore) -> FlaskClient:
    settings = {"TESTING": True, "LIVE_IN_BACKGROUND": False}
    return create_app(store.workspace.home, config=settings).test_client()


def test_a_run_of_somebody_else_is_refused_in_a_sentence(
    store: RunStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(deadline, "_start", lambda *_: None)
    monkeypatch.setattr("trainer.deadline.process.send_signal", refuse)
    with pytest.raises(StoreError, match="cannot be stopped: Operation not permitted"):
        store.stop(run.run_id)


def test_a_run_that_never_gets_a_process_cannot_be_killed(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="queued")
    held = RunLock.acquire(run.paths.lock)
    assert held is not None
    monkeypatch.setattr("trainer.runs.START_SECONDS", 0.0)
    with pytest.raises(ConflictError, match="no process to end yet"):
        store.stop(run.run_id, kill=True)
    held.release()
