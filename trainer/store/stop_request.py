"""The request that a run end, and the deadline after which it is killed.

It lies in the run folder, so it outlasts whoever asked, reaches a worker that is only just
starting, and tells afterwards why a run ended. A deadline is a time on the monotonic clock of
this boot, which all processes share: setting the wall clock neither hastens nor delays it.

A worker reserves a block for it at its start. On a full disk the request is written into that
block, which is then renamed, or into the block of the request before: neither takes new space.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from trainer.errors import StoreError
from trainer.store import process
from trainer.store.files import read_record, sync_folder, write_record
from trainer.store.records import SCHEMA, ProcessRecord, State, written_time
from trainer.store.space import is_no_space
from trainer.store.workspace import RunPaths

RESERVE_BYTES = 4096
LEAST_DEADLINE_SECONDS = 60.0
_PATIENCE_FACTOR = 3.0
_SAVED_BYTES_PER_PARAMETER = 12
"""A weight and two momenta in fp32."""

_SLOW_DISK_BYTES_PER_SECOND = 50e6

KilledFor = Literal["request", "deadline"]


class StopRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked when, and until when the run may take to end by itself.

    Attributes:
        deadline_at: for people to read, on the wall clock of the moment of the request.
        deadline_uptime_seconds: the deadline itself, on the monotonic clock of ``boot_id``.
        enforcer: the process that holds the run to the deadline.
        killed_for: why the run is killed; written just before it is done.
    """

    schema: int = SCHEMA
    requested_at: str
    by_pid: int
    deadline_seconds: float
    deadline_at: str
    deadline_uptime_seconds: float
    boot_id: str
    enforcer: ProcessRecord | None = None
    killed_for: KilledFor | None = None

    @classmethod
    def made_now(cls, deadline_seconds: float, killed_for: KilledFor | None = None) -> StopRequest:
        """Make a request of this process whose deadline begins now."""
        at = datetime.now(UTC)
        return cls(
            requested_at=written_time(at),
            by_pid=os.getpid(),
            deadline_seconds=deadline_seconds,
            deadline_at=written_time(at + timedelta(seconds=deadline_seconds)),
            deadline_uptime_seconds=time.monotonic() + deadline_seconds,
            boot_id=process.boot_id(),
            killed_for=killed_for,
        )

    def seconds_left(self, uptime_seconds: float | None = None) -> int:
        """Return the whole seconds until the deadline, rounded up, 0 once it has passed."""
        at = time.monotonic() if uptime_seconds is None else uptime_seconds
        return max(0, math.ceil(self.deadline_uptime_seconds - at))

    def as_dict(self) -> dict[str, Any]:
        """What every surface tells of it."""
        return {
            "requested_at": self.requested_at,
            "deadline_at": self.deadline_at,
            "seconds_left": self.seconds_left(),
        }


def read_stop_request(paths: RunPaths) -> StopRequest | None:
    """Return the request, or None where there is none that can be read."""
    try:
        return read_record(paths.stop_request, StopRequest)
    except (OSError, StoreError):
        return None


def write_stop_request(paths: RunPaths, request: StopRequest) -> None:
    """Leave a request in place of the one before, on a full disk in what is reserved for it.

    Raises:
        OSError: the folder is gone, read-only, or full and nothing is reserved in it.
    """
    try:
        write_record(paths.stop_request, request)
    except OSError as error:
        if not is_no_space(error):
            raise
        if not _is_written_without_space(paths, request):
            raise


def reserve_stop_request(paths: RunPaths) -> None:
    """Take a block of the disk for a request that may come when the disk is full.

    Raises:
        OSError: there is no space even for that, or the folder cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    _overwrite(os.open(paths.stop_reserve, flags, 0o644), b"")


def release_reserve(paths: RunPaths) -> None:
    """Give the block back: the run has ended. One that stays behind harms nobody."""
    with contextlib.suppress(OSError):
        paths.stop_reserve.unlink(missing_ok=True)


def _is_written_without_space(paths: RunPaths, request: StopRequest) -> bool:
    """Write into the reserve and rename it, or else into the request before; False without both."""
    content = msgspec.json.encode(request)
    for place in (paths.stop_reserve, paths.stop_request):
        try:
            descriptor = os.open(place, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        _overwrite(descriptor, content)
        with contextlib.suppress(FileNotFoundError):  # Another who asks just now has renamed it.
            os.replace(place, paths.stop_request)
        sync_folder(paths.folder)
        return True
    return False


def _overwrite(descriptor: int, content: bytes) -> None:
    """Fill the block of a file with JSON and blanks, at once, and close the file."""
    try:
        os.pwrite(descriptor, content.ljust(RESERVE_BYTES), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def default_deadline_seconds(state: State) -> float:
    """Return how long a run may take to finish its step, save and end.

    That is a minute, or three times what a step and a checkpoint on a slow disk take where that
    is longer, as far as the run's own figures tell.
    """
    saving = _SAVED_BYTES_PER_PARAMETER * (state.parameters or 0) / _SLOW_DISK_BYTES_PER_SECOND
    return max(LEAST_DEADLINE_SECONDS, _PATIENCE_FACTOR * (_step_seconds(state) + saving))


def _step_seconds(state: State) -> float:
    if not (state.step and state.tokens and state.tokens_per_second):
        return 0.0
    return state.tokens / state.step / state.tokens_per_second
