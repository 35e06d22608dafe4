"""How much of the processor the process takes: little, and less beside a training run."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from trainer.store.queue import devices_in_use
from trainer.store.workspace import Workspace

NICENESS = 10
"""A tenth of the weight of a process of the usual priority, where both want the same core."""

MOST_THREADS = 4
"""More make the products of small models no faster."""

_LOOK_SECONDS = 1.0
_AUTOGROUP = Path("/proc/self/autogroup")


def yield_to_others() -> None:
    """Let everything else on the machine go first.

    Linux divides the processor among sessions first (``autogroup`` in sched(7)), and niceness
    counts only among the processes of one. So a process that leads a session of its own makes the
    session nice too; one in the session of others leaves theirs as it is.
    """
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        # There may be no such file, or no right to write it: then niceness has to do.
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(NICENESS))


def cores() -> int:
    """Return how many physical cores this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1))


class Pace:
    """Sets how many threads compute: one while a run of the workspace trains on the CPU.

    Args:
        set_threads: takes the number when it changes.
    """

    def __init__(
        self,
        home: Path,
        set_threads: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = Workspace(home).queue_dir
        self._set_threads, self._clock = set_threads, clock
        self.threads = 0
        self._next_look = 0.0
        self.keep()

    def keep(self) -> None:
        """Look at the runs, once a second at most, and set the number of threads."""
        if self._clock() < self._next_look:
            return
        self._next_look = self._clock() + _LOOK_SECONDS
        threads = 1 if "cpu" in devices_in_use(self._queue) else min(MOST_THREADS, cores())
        if threads != self.threads:
            self.threads = threads
            self._set_threads(threads)
