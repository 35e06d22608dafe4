"""One client of the process: a thread reads its commands, another writes its events.

Nobody waits for a client that reads slowly. What it is behind with is merged, and beyond a bound
its texts are not written any further until it has caught up.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import msgspec

from trainer.inference.backlog import Backlog
from trainer.inference.protocol import Command, Event
from trainer.inference.service.messages import Asked, CaughtUp, Inbox, Left

MOST_TOKENS_BEHIND = 2048
MOST_COMMAND_BYTES = 1 << 26
GATHER_SECONDS = 0.025
"""Tokens that come quicker after one another are sent together.

Nobody sees the difference, and each message is work for every process on its way: one a token took
a tenth of the speed away.
"""

log = logging.getLogger(__name__)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Line:
    """The two directions of a connection, and what ends it for the threads that wait on it."""

    commands: IO[bytes]
    events: IO[bytes]
    hang_up: Callable[[], None] = lambda: None


class Peer:
    """A client, known by its ``number``; what it sends comes to the inbox."""

    def __init__(self, line: Line, inbox: Inbox) -> None:
        self.number = next(_numbers)
        self._line, self._inbox = line, inbox
        self._backlog = Backlog(MOST_TOKENS_BEHIND, lambda: inbox.put(CaughtUp()))
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def behind(self) -> bool:
        """Whether so much waits for the client that no more should be written for it."""
        return self._backlog.behind

    def send(self, event: Event) -> None:
        """Have an event written; never waits."""
        self._backlog.put(event)

    def dismiss(self, patience_seconds: float) -> None:
        """Write what waits, as far as the client takes it in this time, and hang up."""
        self._backlog.close()
        self._writer.join(patience_seconds)
        self._line.hang_up()

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(Command)
        try:
            while (line := self._line.commands.readline(MOST_COMMAND_BYTES)).endswith(b"\n"):
                self._inbox.put(Asked(self, decoder.decode(line)))
        except msgspec.MsgspecError as error:
            log.warning("A client sent what is no command and is dismissed: %s", error)
        except OSError as error:
            log.info("A client is gone: %s", error)
        # Without a reader its events would wait for ever.
        self._backlog.close(drop=True)
        self._line.hang_up()
        self._inbox.put(Left(self))

    def _write(self) -> None:
        events = self._line.events
        with contextlib.suppress(OSError, ValueError):  # ValueError: closed meanwhile.
            while (event := self._backlog.take()) is not None:
                events.write(msgspec.json.encode(event) + b"\n")
                if self._backlog.empty:
                    events.flush()
                    self._backlog.gather(GATHER_SECONDS)
            events.flush()
