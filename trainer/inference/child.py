"""A process that holds models for one owner alone, asked over its standard input."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import IO

from trainer.children import environment
from trainer.errors import TrainerError
from trainer.inference.channel import Channel
from trainer.inference.ending import ending, last_lines

CLOSE_PATIENCE_SECONDS = 5.0


class Child(Channel):
    """One life of the process.

    It is started by the thread that reads from it, for Linux ends a child that asks to die with
    its parent when the *thread* that started it ends, and threads of a web server come and go.
    """

    def __init__(self, command: Sequence[str]) -> None:
        super().__init__()
        self._command = command
        self._closing = False
        self._process: subprocess.Popen[bytes] | None = None
        self._started = threading.Event()
        self._reader = threading.Thread(target=self._live, name="model process", daemon=True)
        self._reader.start()
        self._started.wait()

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
            self._end(failure, last_lines(stderr))

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
            self._read(events)
        status = process.wait()
        self._hang_up()
        return f"The model process ended unexpectedly ({ending(status)})."

    def _end(self, failure: str, stderr: str) -> None:
        message = "The model process was closed." if self._closing else failure
        error = TrainerError(message, stderr or "Try again.")
        for job in self._leave(error):
            job.fail(error)
        self._started.set()
