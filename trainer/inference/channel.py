"""One life of a process that holds models, as its client sees it."""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from typing import IO

import msgspec

from trainer.errors import TrainerError
from trainer.inference.job import Job
from trainer.inference.protocol import LAST_TYPES, Command, Event


class Channel(ABC):
    """Takes commands to a process and its events to the jobs they belong to.

    When the process has ended, the jobs it still owed an answer fail.
    """

    def __init__(self) -> None:
        self._jobs_lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._failure: TrainerError | None = None
        self._writing_lock = threading.Lock()
        self._commands: IO[bytes] | None = None

    @property
    def over(self) -> bool:
        """Whether the process has ended, or could not be started: it takes no more jobs."""
        return self._failure is not None

    def begin(self, job: Job) -> None:
        """Hand a job to the process; it fails when the process has ended."""
        job.attach(self.send)
        with self._jobs_lock:
            failure = self._failure
            if failure is None:
                self._jobs[job.id] = job
        if failure is not None:
            self._give_up(job, failure)
        else:
            self.send(job.command)

    def send(self, command: Command) -> None:
        """Write a command; to a process that has ended it makes no difference."""
        # A process that has ended takes nothing; the reader tells every job of it.
        with self._writing_lock, contextlib.suppress(ConnectionError):
            if self._commands is not None and not self._commands.closed:
                self._commands.write(msgspec.json.encode(command) + b"\n")
                self._commands.flush()

    @abstractmethod
    def close(self) -> None:
        """Let go of the process; jobs that are under way fail."""

    def _give_up(self, job: Job, failure: TrainerError) -> None:
        """End a job that the process will not do."""
        job.fail(failure)

    def _hang_up(self) -> None:
        with self._writing_lock, contextlib.suppress(ConnectionError):
            if self._commands is not None:
                self._commands.close()

    def _read(self, events: IO[bytes]) -> None:
        """Pass on events until there are no more."""
        for line in events:
            if line.endswith(b"\n"):  # Else it was killed in the middle of a message.
                self._dispatch(msgspec.json.decode(line))

    def _dispatch(self, event: Event) -> None:
        with self._jobs_lock:
            last = event["type"] in LAST_TYPES
            job = self._jobs.pop(event["id"], None) if last else self._jobs.get(event["id"])
        if job is not None:
            job.deliver(event)

    def _leave(self, failure: TrainerError) -> list[Job]:
        """Take no more jobs, and return those without an end."""
        with self._jobs_lock:
            self._failure = failure
            left = list(self._jobs.values())
            self._jobs.clear()
        return left
