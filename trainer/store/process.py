"""Names processes for good, and signals only the one that was meant.

On Linux a process is its pid, the boot it belongs to and the clock tick at which it started
(field 22 of ``/proc/<pid>/stat``, see proc(5)); a signal goes through a pidfd that is checked
again after it was opened. Elsewhere psutil's creation time stands in for the start tick.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from trainer.store.records import ProcessRecord

_LINUX = sys.platform.startswith("linux")
_GONE_STATES = frozenset("ZXx")
_LOOK_SECONDS = 0.1


@cache
def boot_id() -> str:
    """Return what names this boot of the machine."""
    if _LINUX:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{psutil.boot_time():.0f}"


def identify(pid: int) -> ProcessRecord | None:
    """Return the identity of a living process, or None when there is none (a zombie is none)."""
    ticks = _start_ticks(pid)
    if ticks is None:
        return None
    return ProcessRecord(pid=pid, boot_id=boot_id(), start_ticks=ticks)


def _start_ticks(pid: int) -> int | None:
    if not _LINUX:
        return _creation_hundredths(pid)
    fields = _stat_fields(pid)
    return None if fields is None or fields[0] in _GONE_STATES else int(fields[19])


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of ``/proc/<pid>/stat`` from the third, the state, on."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in brackets and may itself hold spaces and brackets.
    return stat.rpartition(")")[2].split()


def _creation_hundredths(pid: int) -> int | None:
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else int(process.create_time() * 100)
    except psutil.NoSuchProcess:
        return None


def is_alive(record: ProcessRecord | None) -> bool:
    """Say whether exactly this process still lives."""
    return record is not None and identify(record.pid) == record


def is_stopped(record: ProcessRecord | None) -> bool:
    """Say whether exactly this process lives and is held up, by SIGSTOP or Ctrl+Z."""
    if record is None or not is_alive(record):
        return False
    if _LINUX:
        fields = _stat_fields(record.pid)
        return fields is not None and fields[0] == "T"
    try:
        return bool(psutil.Process(record.pid).status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def send_signal(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signal exactly this process; return False when it is gone.

    Raises:
        PermissionError: it belongs to another user.
    """
    if not _LINUX:
        return is_alive(record) and _kill(record.pid, number)
    with _pidfd(record) as descriptor:
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        return True


def kill_group(record: ProcessRecord) -> bool:
    """Kill a process that leads a group of its own, together with the whole group.

    Returns False when the process is gone; its group number may then belong to others.

    Raises:
        PermissionError: it belongs to another user.
    """
    if not _leads_its_group(record) or not send_signal(record, signal.SIGSTOP):
        return False
    # A stopped leader does not end, so its group number is not used again before the kill.
    if not is_alive(record):
        return False
    try:
        os.killpg(record.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for_end(record: ProcessRecord, seconds: float) -> bool:
    """Wait until exactly this process has ended, be it a child or not; say whether it has."""
    if not _LINUX:
        return _look_for_end(record, seconds)
    with _pidfd(record) as descriptor:
        if descriptor is None:
            return True
        ends = select.poll()
        ends.register(descriptor, select.POLLIN)
        return bool(ends.poll(1000 * seconds))


@contextmanager
def _pidfd(record: ProcessRecord) -> Iterator[int | None]:
    """Open what names exactly this process from now on, or yield None when it is gone."""
    try:
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # The pid could have been used again before it was opened, not after.
        yield descriptor if is_alive(record) else None
    finally:
        os.close(descriptor)


def _leads_its_group(record: ProcessRecord) -> bool:
    try:
        return is_alive(record) and os.getpgid(record.pid) == record.pid
    except ProcessLookupError:
        return False


def _look_for_end(record: ProcessRecord, seconds: float) -> bool:
    """Do as :func:`wait_for_end` where the system has no pidfd."""
    deadline = time.monotonic() + seconds
    while is_alive(record):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
