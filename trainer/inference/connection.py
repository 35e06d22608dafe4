"""A connection to the process that a workspace's clients share."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import IO

import msgspec

from trainer import __version__
from trainer.errors import TrainerError
from trainer.inference import rendezvous
from trainer.inference.channel import Channel
from trainer.inference.ending import ending, failure_lines, last_lines
from trainer.inference.job import Job
from trainer.inference.protocol import PROTOCOL, Event, Retire
from trainer.inference.rendezvous import Rendezvous, Started

HELLO_PATIENCE_SECONDS = 20.0
"""A process that says nothing for so long hangs or was stopped; another one takes its place."""

RETIRE_PATIENCE_SECONDS = 5.0


class Connection(Channel):
    """One connection; it is over when the process says goodbye or is gone.

    Args:
        resume: takes the jobs that the process has not begun when it ends by itself.
    """

    def __init__(self, met: Met, place: Rendezvous, resume: Callable[[Job], None]) -> None:
        super().__init__()
        self.hello = met.hello
        self._met, self._place, self._resume = met, place, resume
        self._leaving = self._closing = False
        self._log_before = _size(place)
        self._commands = met.connection.makefile("wb")
        self._reader = threading.Thread(target=self._live, name="model service", daemon=True)
        self._reader.start()

    @property
    def over(self) -> bool:
        return self._leaving or super().over

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._met.connection.shutdown(socket.SHUT_RDWR)
        self._reader.join()

    def _live(self) -> None:
        # A process that is killed with commands unread resets the connection.
        with contextlib.suppress(ConnectionError):
            self._read(self._met.events)
        self._hang_up()
        self._met.close()
        error = self._why()
        for job in self._leave(error):
            self._give_up(job, error)

    def _give_up(self, job: Job, failure: TrainerError) -> None:
        # A command that crosses the goodbye resets the connection, and the goodbye is lost.
        by_itself = self._leaving or self._met.ended_well
        if by_itself and not self._closing and not job.begun:
            self._resume(job)
        else:
            job.fail(failure)

    def _dispatch(self, event: Event) -> None:
        if event["type"] == "bye":
            self._leaving = True
        else:
            super()._dispatch(event)

    def _why(self) -> TrainerError:
        if self._closing:
            return TrainerError("The connection to the model service was closed.", "Try again.")
        how = self._met.ending()
        hint = f"Try again: it is started anew by itself. Its log is {self._place.log}."
        with contextlib.suppress(OSError), self._place.log.open("rb") as log:
            told = failure_lines(last_lines(log, self._log_before))
            hint = f"{hint}\n{told}".strip()
        return TrainerError(f"The model service ended unexpectedly{how}.", hint)


class Met:
    """A connected process that has said hello, and how it was started if this process did that."""

    def __init__(
        self, connection: socket.socket, events: IO[bytes], hello: Event, started: Started | None
    ) -> None:
        self.connection, self.events, self.hello, self._started = connection, events, hello, started

    def ending(self) -> str:
        """Return how the process ended, where that is known, in brackets and behind a blank."""
        if self._started is None or self._started.pid != self.hello["pid"]:
            return ""
        try:
            status = self._started.process.wait(RETIRE_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        return f" ({ending(status)})"

    @property
    def ended_well(self) -> bool:
        """Whether the process is known to have ended with status 0."""
        started = self._started
        return started is not None and started.process.poll() == 0

    def close(self) -> None:
        """Close the connection."""
        self.events.close()
        self.connection.close()


def meet(place: Rendezvous) -> Met:
    """Connect to the process of a workspace; start it where there is none, or another version's.

    Raises:
        TrainerError: it cannot be started, or this program was replaced by another version.
    """
    try:
        found = _find(place)
        if found is not None and _fits(found.hello):
            return found
        if found is not None:
            found.close()
        with rendezvous.starting(place):
            return _find_fitting(place) or _start(place)
    except OSError as error:
        raise TrainerError(
            f"The model service cannot be started: {error.strerror or error}.",
            f"Check {place.folder}.",
        ) from error


def _fits(hello: Event) -> bool:
    return bool(hello["protocol"] == PROTOCOL and hello["version"] == __version__)


def _find_fitting(place: Rendezvous) -> Met | None:
    """Look once more, for another client may have been faster, and retire another version."""
    found = _find(place)
    if found is None or _fits(found.hello):
        return found
    with contextlib.suppress(OSError):
        found.connection.settimeout(RETIRE_PATIENCE_SECONDS)
        found.connection.sendall(msgspec.json.encode(Retire(0)) + b"\n")
        found.events.readline()  # Its goodbye: from now on it begins nothing.
    found.close()
    return None


def _start(place: Rendezvous) -> Met:
    started = rendezvous.start(place)
    met = _find(place, started)
    if met is None:
        raise _not_started(started, place)
    if met.hello["protocol"] != PROTOCOL:
        met.close()
        raise TrainerError(
            f"llm-trainer was replaced by version {met.hello['version']} while this ran.",
            "End this program and start it again.",
        )
    return met


def _not_started(started: Started, place: Rendezvous) -> TrainerError:
    try:
        how = ending(started.process.wait(RETIRE_PATIENCE_SECONDS))
    except subprocess.TimeoutExpired:
        how = "it does not answer"
    with place.log.open("rb") as log:
        return TrainerError(f"The model service cannot be started ({how}).", last_lines(log))


def _find(place: Rendezvous, started: Started | None = None) -> Met | None:
    """Connect and wait for the hello; None where nobody says it."""
    connection = rendezvous.connect(place.socket)
    if connection is None:
        return None
    events = connection.makefile("rb")
    connection.settimeout(HELLO_PATIENCE_SECONDS)
    try:
        line = events.readline()
    except (TimeoutError, ConnectionError):
        line = b""
    if not line.endswith(b"\n"):
        events.close()
        connection.close()
        return None
    connection.settimeout(None)
    return Met(connection, events, msgspec.json.decode(line), started)


def _size(place: Rendezvous) -> int:
    try:
        return place.log.stat().st_size
    except OSError:
        return 0
