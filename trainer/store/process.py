"""Names processes for good, and signals only the one that was meant.

On Linux a process is its pid, the boot it belongs to and the clock tick at which it started
(field 22 of ``/proc/<pid>/stat``, see proc(5)); a signal goes through a pidfd that is checked
again after it was opened. Elsewhere psutil's creation time stands in for the start tick.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache
from pathlib import Path

import psutil

from trainer.store.records import ProcessRecord

_LINUX = sys.platform.startswith("linux")
_GONE_STATES = frozenset("ZXx")


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
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in brackets and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in _GONE_STATES else int(fields[19])


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


def send_signal(record: ProcessRecord, number: signal.Signals) -> bool:
    """Signal exactly this process; return False when it is gone.

    Raises:
        PermissionError: it belongs to another user.
    """
    if not _LINUX:
        return is_alive(record) and _kill(record.pid, number)
    try:
        descriptor = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return False
    try:
        # The pid could have been used again before it was opened, not after.
        if not is_alive(record):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def kill_group(record: ProcessRecord) -> bool:
    """Kill a process that leads a group of its own, together with the whole group.

    Returns False when the process is gone; its group number may then belong to others.
    """
    if not is_alive(record) or os.getpgid(record.pid) != record.pid:
        return False
    send_signal(record, signal.SIGSTOP)
    if not is_alive(record):
        return False
    # A stopped leader cannot end, so its group number cannot be used again before the kill.
    try:
        os.killpg(record.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
