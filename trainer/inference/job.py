"""Something asked of a process that holds models: its answer as it comes, and a way to end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from trainer.errors import ConfigurationError, TrainerError
from trainer.inference.backlog import Backlog
from trainer.inference.protocol import LAST_TYPES, Cancel, Command, Event, Generate, JobCommand

_FAMILY: dict[str, type[TrainerError]] = {
    kind.kind: kind
    for kind in TrainerError.__subclasses__()
    # Others belong to one part of the program each, and may share a kind with one of these.
    if kind.__module__ == TrainerError.__module__ and kind is not ConfigurationError
}


class Job:
    """A text, a score, an evaluation, … under way: iterate over its events, or wait for the last.

    Used in a ``with`` statement it is cancelled when the block is left before its end. A reader
    that is slow gets fewer and longer ``token`` events.
    """

    def __init__(self, command: JobCommand) -> None:
        self.command = command
        self.begun = False
        """Whether anything was told of it yet."""
        self.cancelled = False
        self._send: Callable[[Command], None] = lambda _: None
        self._events = Backlog()
        self._ended = False

    @property
    def id(self) -> int:
        """What commands and events name it by."""
        return self.command.id

    @property
    def seed(self) -> int | None:
        """What the text is drawn by; None for what is no text."""
        return self.command.settings.seed if isinstance(self.command, Generate) else None

    def __iter__(self) -> Iterator[Event]:
        """Yield the events as they come; see :mod:`trainer.inference.protocol`.

        Raises:
            TrainerError: of the class that fits the failure.
        """
        while not self._ended:
            event = self._events.take()
            assert event is not None  # A job's backlog is never closed.
            self._ended = event["type"] in LAST_TYPES
            if event["type"] == "failed":
                raise error_from(event["error"])
            yield event

    def result(self) -> Event:
        """Wait for the end and return what the last event tells, without id and type.

        Raises:
            TrainerError: of the class that fits the failure.
        """
        last: Event = {}
        for event in self:
            last = event
        return {key: value for key, value in last.items() if key not in ("id", "type")}

    def cancel(self) -> None:
        """Ask for the end: a generation is done with what it has, all else fails."""
        self.cancelled = True
        self._send(Cancel(self.id))

    def attach(self, send: Callable[[Command], None]) -> None:
        """Name what takes commands to the process that works on it now."""
        self._send = send

    def deliver(self, event: Event) -> None:
        """Take an event from the process."""
        self.begun = True
        self._events.put(event)

    def fail(self, error: TrainerError) -> None:
        """End it with an error."""
        self.deliver({"id": self.id, "type": "failed", "error": error.as_dict()})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ended:
            self.cancel()


def error_from(told: dict[str, str]) -> TrainerError:
    """Make the error of the family that another process has told."""
    kind = _FAMILY.get(told["kind"], TrainerError)
    return kind(told["message"], told["hint"])
