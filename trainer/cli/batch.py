"""Several prompts under way with one model, answered in the order in which they were given."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trainer.inference.request import GenerationSettings

if TYPE_CHECKING:
    from trainer.inference.client import Job

AT_ONCE = 16
"""Prompts that the model works on together; more would wait for each other, not run faster."""


class Batch:
    """Begins to write from each prompt, some ahead of the one whose text is read.

    Args:
        begin: asks the model to write.
        requests: a prompt with its settings each.
    """

    def __init__(
        self, begin: Callable[[GenerationSettings], Job], requests: Sequence[GenerationSettings]
    ) -> None:
        self._begin = begin
        self._waiting = deque(requests)
        self._under_way: deque[Job] = deque()
        self._cancelled = Event()

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs in order; each is to be read to its end before the next is asked for.

        Raises:
            TrainerError: the model cannot be asked.
        """
        self._fill()
        while self._under_way:
            yield self._under_way[0]
            self._under_way.popleft()
            self._fill()

    @property
    def cancelled(self) -> bool:
        """Whether :meth:`cancel` was called: prompts that had not begun are left out."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End every text with what it has, and begin no other."""
        self._cancelled.set()
        for job in tuple(self._under_way):
            job.cancel()

    def _fill(self) -> None:
        while self._waiting and len(self._under_way) < AT_ONCE and not self.cancelled:
            job = self._begin(self._waiting.popleft())
            self._under_way.append(job)
            if self.cancelled:  # Between the two lines above.
                job.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._under_way:
            self.cancel()


@contextmanager
def cancelled_by_ctrl_c(batch: Batch) -> Iterator[None]:
    """Let the first Ctrl+C cancel a batch, so that what it has written comes; a second ends."""

    def cancel(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # In a thread: this one may hold, at this moment, the lock that sending needs.
        Thread(target=batch.cancel).start()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
