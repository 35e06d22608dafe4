"""Who owns a run: an exclusive ``flock`` on its ``run.lock`` for the whole life of the worker.

The kernel lets go of the lock when the last process that shares the open file ends, however it
ends. The launcher takes the lock and hands the open file to the worker it starts, so there is no
moment at which a run that is being started belongs to nobody. The file is never removed.

The file holds who took the lock last, so that a refusal can name the owner. That is for words
only: the kernel alone says whether the lock is held.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from trainer.store import process
from trainer.store.records import ProcessRecord

_RETRY_SECONDS = 0.02


def _patiently() -> bool:
    return False


class RunLock:
    """An exclusive lock that this process holds through an open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(
        cls,
        path: Path,
        patience_seconds: float = 0.0,
        *,
        unless: Callable[[], bool] = _patiently,
    ) -> RunLock | None:
        """Take the lock, or return None when another process keeps it past the patience.

        Args:
            patience_seconds: a little bridges the instant in which a viewer probes the lock, and
                that between a worker's last word and its end.
            unless: asked between tries; where it is true, waiting is in vain.

        Raises:
            OSError: the file cannot be opened for writing.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + patience_seconds
        while not _try_to_lock(descriptor):
            if time.monotonic() >= deadline or unless():
                os.close(descriptor)
                return None
            time.sleep(_RETRY_SECONDS)
        taken = cls(descriptor)
        taken.name_holder(process.identify(os.getpid()))
        return taken

    @classmethod
    def inherited(cls, descriptor: int) -> RunLock:
        """Take over the lock that the launcher passed to this process.

        Raises:
            OSError: the descriptor is not an open file, or another process holds the lock.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(descriptor, False)
        taken = cls(descriptor)
        taken.name_holder(process.identify(os.getpid()))
        return taken

    def name_holder(self, holder: ProcessRecord | None) -> None:
        """Write down who holds the lock; on a full disk it stays unknown."""
        name = b"" if holder is None else msgspec.json.encode(holder)
        with suppress(OSError):
            os.pwrite(self.descriptor, name, 0)
            os.ftruncate(self.descriptor, len(name))

    def release(self) -> None:
        """Close this process's hold on the lock; harmless when called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(path: Path, patience_seconds: float = 0.0) -> ProcessRecord | None:
    """Return the living process that took the lock last, if the file names one.

    Args:
        patience_seconds: a little bridges the instant between taking the lock and signing it.
    """
    deadline = time.monotonic() + patience_seconds
    while (found := _named_holder(path)) is None and time.monotonic() < deadline and is_held(path):
        time.sleep(_RETRY_SECONDS)
    return found


def _named_holder(path: Path) -> ProcessRecord | None:
    try:
        named = msgspec.json.decode(path.read_bytes(), type=ProcessRecord)
    except (OSError, msgspec.MsgspecError):
        return None
    return named if process.is_alive(named) else None


def is_held(path: Path) -> bool:
    """Say whether some process holds the lock, by trying a shared one for an instant."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a short lock on ``path`` while a file is read, changed and replaced."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
