"""Text written with trained models, for the playground and for programs: who may write when."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from trainer.errors import BusyError
from trainer.inference.client import Job, ModelClient, ModelService
from trainer.inference.protocol import Event
from trainer.inference.request import GenerationSettings
from trainer.runs import RunStore

MAX_WRITINGS = 64
"""Each holds a thread of the server while its text is sent, and the pages need theirs."""

MAX_WRITINGS_A_CLIENT = 32
ROWS_AT_ONCE = 32
"""Of one request with several prompts, so many texts are handed over to be written at once."""


class _Held(ABC):
    """Something that holds a place until it is released: use it in a ``with`` statement."""

    @abstractmethod
    def release(self) -> None:
        """Make room for another; what is not finished is cancelled. May be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Writing(_Held):
    """One text being written, or scored. It must be released: use it in a ``with`` statement.

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

    @property
    def seed(self) -> int | None:
        """What the text is drawn by; None for what is no text."""
        return self._job.seed

    def cancel(self) -> None:
        """Ask for the end; what was written so far still comes, with ``done``."""
        self._job.cancel()

    def release(self) -> None:
        """Make room for another; a text that is not finished is cancelled. May be repeated."""
        if not self._ended:
            self._job.cancel()
        self._release()


class Writings(_Held):
    """Several texts in one place, a few at once. It must be released, as a :class:`Writing`.

    Iterating yields each text's number and its events, one text after the other. Meanwhile those
    that follow are written too; of them fewer and longer ``token`` events come.

    Args:
        begin: hands over one more text.
    """

    def __init__(
        self,
        begin: Callable[[GenerationSettings], Job],
        asked: Sequence[GenerationSettings],
        release: Callable[[], None],
    ) -> None:
        self._begin = begin
        self._asked = asked
        self._waiting = deque(asked)
        self._under_way: deque[Job] = deque()
        self._release = release

    def __iter__(self) -> Iterator[tuple[int, Event]]:
        for number in range(len(self._asked)):
            self._fill()
            for event in self._under_way[0]:
                yield number, event
            self._under_way.popleft()

    def release(self) -> None:
        """Make room for others; texts that are not finished are cancelled. May be repeated."""
        while self._under_way:
            self._under_way.popleft().cancel()
        self._release()

    def _fill(self) -> None:
        while self._waiting and len(self._under_way) * self._waiting[0].n < ROWS_AT_ONCE:
            self._under_way.append(self._begin(self._waiting.popleft()))


class Writers:
    """Begins writings in the process that holds the models, so many at a time and no more."""

    def __init__(self, store: RunStore, process: ModelClient | None = None) -> None:
        self._store = store
        self._process = process or ModelService(store.workspace.home)
        self._places = Places()

    def begin(
        self, client: str, run_id: str, checkpoint: str, settings: GenerationSettings
    ) -> Writing:
        """Begin to continue a prompt.

        Args:
            client: whose text it is; each may have only so many at a time.
            run_id: a whole run id, or ``latest``.

        Raises:
            NotFoundError: there is no such run or checkpoint.
            UsageError: a setting, or the name of the checkpoint, is wrong.
            BusyError: too many texts are being written.
        """

        def start(path: Path) -> Job:
            return self._process.generate(path, settings, client=client)

        return self._start(client, run_id, checkpoint, start)

    def begin_several(
        self, client: str, run_id: str, checkpoint: str, asked: Sequence[GenerationSettings]
    ) -> Writings:
        """Begin to continue several prompts, as one request; otherwise as :meth:`begin`."""
        path = self._checkpoint(run_id, checkpoint)

        def start(settings: GenerationSettings) -> Job:
            return self._process.generate(path, settings, client=client)

        return Writings(start, asked, self._places.take(client))

    def score(
        self, client: str, run_id: str, checkpoint: str, text: str, alternatives: int = 0
    ) -> Writing:
        """Begin to tell how likely a model finds a text; otherwise as :meth:`begin`.

        Args:
            alternatives: how many of the likeliest tokens to tell at each place.
        """

        def start(path: Path) -> Job:
            return self._process.score(path, text, alternatives, client=client)

        return self._start(client, run_id, checkpoint, start)

    def warm(self, client: str, run_id: str, checkpoint: str) -> Writing:
        """Begin to have a model ready for what may be asked next; otherwise as :meth:`begin`."""
        return self._start(client, run_id, checkpoint, self._process.warm)

    def close(self) -> None:
        """End the process; what is being written fails."""
        self._process.close()

    def _start(
        self, client: str, run_id: str, checkpoint: str, begin: Callable[[Path], Job]
    ) -> Writing:
        path = self._checkpoint(run_id, checkpoint)
        with ExitStack() as undone:
            release = self._places.take(client)
            undone.callback(release)
            writing = Writing(begin(path), release)
            undone.pop_all()
        return writing

    def _checkpoint(self, run_id: str, checkpoint: str) -> Path:
        whole = self._store.resolve("latest") if run_id == "latest" else run_id
        return self._store.checkpoint_path(whole, checkpoint)


class Places:
    """Counts what is being written, together and by client."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, client: str) -> Callable[[], None]:
        """Count one more and return what takes it back, once.

        Raises:
            BusyError: there are too many.
        """
        with self._lock:
            if self._taken.total() >= MAX_WRITINGS:
                raise BusyError(
                    f"{MAX_WRITINGS} texts are being written already.", "Wait until one is done."
                )
            if self._taken[client] >= MAX_WRITINGS_A_CLIENT:
                raise BusyError(
                    f"{MAX_WRITINGS_A_CLIENT} texts are being written for you already.",
                    "Wait until one is done, or stop one.",
                )
            self._taken[client] += 1
        places = [client]

        def release() -> None:
            with self._lock:
                if places:
                    self._give_back(places.pop())

        return release

    def _give_back(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]
