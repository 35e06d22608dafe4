"""The viewer's side of the process that holds a model; never imports torch.

A :class:`ModelProcess` starts its child when it is first needed, and again after it has died. It
can be used by many threads at once; the child works on their jobs by turns.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from trainer.children import environment, module_command
from trainer.errors import ConfigurationError, TrainerError
from trainer.inference.protocol import (
    LAST_TYPES,
    Cancel,
    Command,
    Evaluate,
    Event,
    Export,
    Generate,
    Split,
)
from trainer.inference.request import GenerationSettings

SERVICE_MODULE = "trainer.inference.service"
CLOSE_PATIENCE_SECONDS = 5.0
_STDERR_LINES = 8
_STDERR_BYTES = 4096


class ModelProcess:
    """A process that writes and scores text with the models of checkpoints.

    Args:
        command: starts the child; another one than this program's is for tests.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = list(command or module_command(SERVICE_MODULE))
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def generate(self, checkpoint: Path, settings: GenerationSettings) -> Job:
        """Begin to continue a prompt; the answer's events come as the job is iterated.

        Raises:
            UsageError: a setting is wrong.
        """
        settings.validate()
        return self._begin(Generate(next(self._ids), str(checkpoint), settings))

    def evaluate(self, checkpoint: Path, *, data_dir: Path, split: Split) -> Job:
        """Begin to score a split of the text that the checkpoint's run was trained on.

        Args:
            data_dir: folder of the token files; they are built again when they are gone.
        """
        return self._begin(Evaluate(next(self._ids), str(checkpoint), str(data_dir), split))

    def export(self, checkpoint: Path, folder: Path, *, title: str) -> Job:
        """Begin to write a model into an existing folder, for ``transformers`` to open.

        Args:
            title: of the model card.
        """
        return self._begin(Export(next(self._ids), str(checkpoint), str(folder), title))

    def close(self) -> None:
        """End the child; jobs that are under way fail. A later job starts a new one."""
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self, command: Generate | Evaluate | Export) -> Job:
        with self._lock:
            if self._child is None or self._child.over:
                self._child = _Child(self._command)
            job = Job(command.id, self._child.send)
            self._child.begin(job, command)
            return job


class Job:
    """A generation, evaluation or export under way: iterate over its events, or wait for the last.

    Used in a ``with`` statement it is cancelled when the block is left before its end.
    """

    def __init__(self, job_id: int, send: Callable[[Command], None]) -> None:
        self.id = job_id
        self._send = send
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._ended = False

    def __iter__(self) -> Iterator[Event]:
        """Yield the events as they come; see :mod:`trainer.inference.protocol`.

        Raises:
            TrainerError: of the class that fits the failure.
        """
        while not self._ended:
            event = self._events.get()
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
        """Ask for the end: a generation is done with what it has, an evaluation fails."""
        self._send(Cancel(self.id))

    def deliver(self, event: Event) -> None:
        """Take an event from the child."""
        self._events.put(event)

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
    # Classes further down belong to one module each, and share a kind with one of these.
    family = [kind for kind in TrainerError.__subclasses__() if kind is not ConfigurationError]
    kind = next((kind for kind in family if kind.kind == told["kind"]), TrainerError)
    return kind(told["message"], told["hint"])


class _Child:
    """One life of the process.

    It is started by the thread that reads from it, for Linux ends a child that asks to die with
    its parent when the *thread* that started it ends, and threads of a web server come and go.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._failure: dict[str, str] | None = None
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._commands: IO[bytes] | None = None
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._live, name="model process", daemon=True)
        self._reader.start()
        self._started.wait()

    @property
    def over(self) -> bool:
        """Whether the process has ended, or could not be started."""
        return self._failure is not None

    def begin(self, job: Job, command: Command) -> None:
        """Hand a job to the process; it fails when the process has ended."""
        with self._lock:
            if self._failure is None:
                self._jobs[job.id] = job
            else:
                job.deliver(_failed(job, self._failure))
        self.send(command)

    def send(self, command: Command) -> None:
        """Write a command; to a process that has ended it makes no difference."""
        # A process that has ended takes nothing; the reader tells every job of it.
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._commands is not None and not self._commands.closed:
                self._commands.write(msgspec.json.encode(command) + b"\n")
                self._commands.flush()

    def close(self) -> None:
        """End the process, by force if it does not end by itself."""
        self._closing = True
        self._hang_up()
        self._reader.join(CLOSE_PATIENCE_SECONDS)
        if self._process is not None and self._reader.is_alive():
            self._process.kill()
            self._reader.join()

    def _live(self) -> None:
        """Start the process, pass on its events until it ends, and tell the jobs left over."""
        with tempfile.TemporaryFile() as stderr:
            try:
                failure = self._run(stderr)
            except OSError as error:
                failure = f"The model process cannot be started: {error.strerror or error}."
            self._end(failure, _last_lines(stderr))

    def _run(self, stderr: IO[bytes]) -> str:
        """Return in words how the process ended."""
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(),
            process_group=0,  # Ctrl+C is meant for the viewer, which then ends the child.
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._commands = process, process.stdin
        self._started.set()
        with process.stdout as events:
            for line in events:
                if line.endswith(b"\n"):  # Else it was killed in the middle of a message.
                    self._dispatch(msgspec.json.decode(line))
        status = process.wait()
        self._hang_up()
        return f"The model process ended unexpectedly ({_ending(status)})."

    def _hang_up(self) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._commands is not None:
                self._commands.close()

    def _dispatch(self, event: Event) -> None:
        with self._lock:
            last = event["type"] in LAST_TYPES
            job = self._jobs.pop(event["id"], None) if last else self._jobs.get(event["id"])
        if job is not None:
            job.deliver(event)

    def _end(self, failure: str, stderr: str) -> None:
        message = "The model process was closed." if self._closing else failure
        with self._lock:
            self._failure = TrainerError(message, stderr or "Try again.").as_dict()
            for job in self._jobs.values():
                job.deliver(_failed(job, self._failure))
            self._jobs.clear()
        self._started.set()


def _failed(job: Job, error: dict[str, str]) -> Event:
    return {"id": job.id, "type": "failed", "error": error}


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"


def _last_lines(file: IO[bytes]) -> str:
    """Return the last lines that a process has written to a file."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _STDERR_BYTES))
    lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_STDERR_LINES:])
