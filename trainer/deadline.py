"""Holds a run that was asked to stop to its deadline: ``python -m trainer.deadline``, no torch.

A process of its own, in a session of its own, so that the deadline outlasts whoever asked. It
lives only while the run is stopping: it waits until the worker has ended, and kills the whole
process group where it has not ended in time, be it busy, hung or stopped.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec

from trainer.children import environment, module_command
from trainer.errors import StoreError, UsageError
from trainer.store import process
from trainer.store.files import read_record
from trainer.store.records import ACTIVE, ProcessRecord, State
from trainer.store.stop_request import StopRequest, read_stop_request, write_stop_request
from trainer.store.truth import told_truly
from trainer.store.workspace import RunPaths, Workspace

LONGEST_DEADLINE_SECONDS = 24 * 3600
_LOOK_SECONDS = 0.1
_KILLED_SECONDS = 30.0
"""How long a killed process may hang in the kernel before nobody waits for it any more."""


def check_deadline(seconds: float | None, *, kill: bool) -> None:
    """Refuse a deadline that cannot be.

    Raises:
        UsageError: it is not from a second to a day, or the run is killed at once anyway.
    """
    if seconds is None:
        return
    if kill:
        raise UsageError(
            "A run that is killed at once has no deadline.", "Give one of the two, not both."
        )
    if not 1 <= seconds <= LONGEST_DEADLINE_SECONDS:
        raise UsageError(
            f"A deadline of {seconds:g} seconds is not from 1 to {LONGEST_DEADLINE_SECONDS:,}."
        )


@contextmanager
def telling_refusals(run_id: str) -> Iterator[None]:
    """Say in a sentence why the system does not let a run be stopped.

    Raises:
        StoreError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"Run {run_id} cannot be stopped: {error.strerror}.",
            "It may belong to another user, or its folder may be full or read-only.",
        ) from error


def has_heard(paths: RunPaths) -> bool:
    """Say whether the worker itself has told that it stops, or that it has ended."""
    try:
        return read_record(paths.state, State).status not in ("queued", "preparing", "running")
    except (OSError, StoreError):
        return True


def ask_to_stop(workspace: Workspace, paths: RunPaths, state: State, seconds: float) -> None:
    """Ask an active run to save and end within so many seconds, and see that it does.

    Of several requests the one with the nearest deadline counts.

    Raises:
        OSError: the request cannot be written, and there is no process yet to ask otherwise.
        PermissionError: the process belongs to another user.
    """
    if not _is_enforced(read_stop_request(paths), seconds):
        _request(workspace, paths, state.process, StopRequest.made_now(seconds))
    if state.process is not None:
        process.send_signal(state.process, signal.SIGTERM)


def _is_enforced(request: StopRequest | None, seconds: float) -> bool:
    """Say whether an earlier request ends the run by then, too."""
    if request is None or not process.is_alive(request.enforcer):
        return False
    return request.deadline_uptime_seconds <= time.monotonic() + seconds


def _request(
    workspace: Workspace, paths: RunPaths, worker: ProcessRecord | None, request: StopRequest
) -> None:
    try:
        write_stop_request(paths, request)
    except OSError:
        if worker is None:
            raise
    enforcer = _start(workspace, paths.run_id, worker, request.deadline_uptime_seconds)
    # Where not even the reserved block is left, the signal alone has to do.
    with suppress(OSError):
        write_stop_request(paths, msgspec.structs.replace(request, enforcer=enforcer))


def _start(
    workspace: Workspace, run_id: str, worker: ProcessRecord | None, deadline: float
) -> ProcessRecord | None:
    """Start the process that enforces a deadline, a time of the monotonic clock."""
    command = module_command("trainer.deadline", "--home", str(workspace.home))
    command += ["--run-id", run_id, "--at-uptime", repr(deadline)]
    if worker is not None:
        command += ["--worker", msgspec.json.encode(worker).decode()]
    started = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=environment(),
    )
    # Whoever lives on (the web server) must collect its child, or it stays a zombie.
    threading.Thread(target=started.wait, name=f"reap-{started.pid}", daemon=True).start()
    return process.identify(started.pid)


def kill_at_once(paths: RunPaths, worker: ProcessRecord) -> None:
    """Kill a run's whole process group, and leave word of why.

    Raises:
        PermissionError: the process belongs to another user.
    """
    with suppress(OSError):
        write_stop_request(paths, StopRequest.made_now(0.0, killed_for="request"))
    process.kill_group(worker)


# ---------------------------------------------------------------------- the process


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for a worker's end, or end it."""
    parser = argparse.ArgumentParser(prog="trainer.deadline", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--at-uptime", type=float, required=True)
    parser.add_argument("--worker")
    options = parser.parse_args(arguments)
    paths = Workspace(options.home).paths(options.run_id)
    if options.worker is not None:
        worker = msgspec.json.decode(options.worker, type=ProcessRecord)
        enforce(paths, worker, options.at_uptime)
    elif (found := _worker_to_come(paths)) is not None:
        enforce(paths, found, options.at_uptime)
    return 0


def enforce(paths: RunPaths, worker: ProcessRecord, deadline: float) -> bool:
    """Kill a worker's process group unless it ends before a time of the monotonic clock.

    Returns whether it had to be killed.
    """
    if process.wait_for_end(worker, max(0.0, deadline - time.monotonic())):
        return False
    request = read_stop_request(paths)
    if request is not None:
        with suppress(OSError):
            told = msgspec.structs.replace(request, killed_for="deadline")
            write_stop_request(paths, told)
    killed = process.kill_group(worker)
    process.wait_for_end(worker, _KILLED_SECONDS)
    return killed


def _worker_to_come(paths: RunPaths) -> ProcessRecord | None:
    """Wait for the worker of a run that is only just starting; None when there will be none."""
    while paths.stop_request.exists():
        try:
            state = told_truly(read_record(paths.state, State), paths)
        except (OSError, StoreError):
            return None
        if state.status not in ACTIVE or state.process is not None:
            return state.process
        time.sleep(_LOOK_SECONDS)
    return None


if __name__ == "__main__":
    sys.exit(main())
