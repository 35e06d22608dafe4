"""Who owns a run: an exclusive ``flock`` on its ``run.lock`` for the whole life of the worker.

The kernel lets go of the lock when the last process that shares the open file ends, however it
ends. The launcher takes the lock and hands the open file to the worker it starts, so there is no
moment at which a run that is being started belongs to nobody. The file is never removed.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunLock:
    """An exclusive lock that this process holds through an open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path, patience_seconds: float = 0.0) -> RunLock | None:
        """Take the lock, or return None when another process keeps it past the patience.

        A little patience bridges the instant in which a viewer probes the lock.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(descriptor)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    return None
                time.sleep(0.02)

    @classmethod
    def inherited(cls, descriptor: int) -> RunLock:
        """Take over the lock that the launcher passed to this process.

        Raises:
            OSError: the descriptor is not an open file, or another process holds the lock.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(descriptor, False)
        return cls(descriptor)

    def release(self) -> None:
        """Close this process's hold on the lock; harmless when called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


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
