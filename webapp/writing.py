"""Text written with trained models, for the playground and for programs: who may write when."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from trainer.errors import ConflictError
from trainer.inference.client import Job, ModelProcess
from trainer.inference.protocol import Event
from trainer.inference.request import GenerationSettings
from trainer.runs import RunStore

MAX_WRITINGS = 8
MAX_WRITINGS_A_CLIENT = 4


class Writing:
    """One text being written. It must be released: use it in a ``with`` statement.

    Iterating yields the events that :mod:`trainer.inference.protocol` describes.
    """

    def __init__(self, job: Job, release: Callable[[], None]) -> None:
        self._job = job
        self._release = release
        self._ended = False

    def __iter__(self) -> Iterator[Event]:
        yield from self._job
        self._ended = True

    def finish(self) -> Event:
        """Wait for the end and return the last event.

        Raises:
            TrainerError: the text cannot be written.
        """
        last: Event = {}
        for event in self:
            last = event
        return last

    def cancel(self) -> None:
        """Ask for the end; what was written so far still comes, with ``done``."""
        self._job.cancel()

    def release(self) -> None:
        """Make room for another; a text that is not finished is cancelled. May be repeated."""
        if not self._ended:
            self._job.cancel()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Writers:
    """Begins writings in one process that holds the models, so many at a time and no more."""

    def __init__(self, store: RunStore, process: ModelProcess | None = None) -> None:
        self._store = store
        self._process = process or ModelProcess()
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def begin(
        self, client: str, run_id: str, checkpoint: str, settings: GenerationSettings
    ) -> Writing:
        """Begin to continue a prompt.

        Args:
            client: whose text it is; each may have only a few at a time.
            run_id: a whole run id, or ``latest``.

        Raises:
            NotFoundError: there is no such run or checkpoint.
            UsageError: a setting, or the name of the checkpoint, is wrong.
            ConflictError: too many texts are being written.
        """
        whole = self._store.resolve("latest") if run_id == "latest" else run_id
        path = self._store.checkpoint_path(whole, checkpoint)
        with ExitStack() as undone:
            release = self._take_place(client)
            undone.callback(release)
            writing = Writing(self._process.generate(path, settings), release)
            undone.pop_all()
        return writing

    def close(self) -> None:
        """End the process; what is being written fails."""
        self._process.close()

    def _take_place(self, client: str) -> Callable[[], None]:
        """Count one more writing and return what takes it back, once."""
        with self._lock:
            if self._running.total() >= MAX_WRITINGS:
                raise ConflictError(
                    f"{MAX_WRITINGS} texts are being written already.", "Wait until one is done."
                )
            if self._running[client] >= MAX_WRITINGS_A_CLIENT:
                raise ConflictError(
                    f"This page writes {MAX_WRITINGS_A_CLIENT} texts already.", "Stop one of them."
                )
            self._running[client] += 1
        places = [client]

        def release() -> None:
            with self._lock:
                if places:
                    self._running[places.pop()] -= 1

        return release
