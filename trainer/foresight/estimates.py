"""How long a run would take and how much memory, asked of a process of its own.

A viewer never imports torch, so :mod:`trainer.engine.estimate` does the work.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trainer import config as configuration
from trainer.children import environment, module_command
from trainer.config import Config
from trainer.errors import TrainerError
from trainer.inference.client import error_from
from trainer.launch import settle

ESTIMATE_MODULE = "trainer.engine.estimate"

Estimate = dict[str, Any]
"""The document of ``train --dry-run --json``."""


CANCELLED = "cancelled"
TOO_LONG = "too long"


@dataclass
class Leash:
    """What ends a trial before it is done: a person, or its time being up.

    Attributes:
        timeout_seconds: from the start of the trial; None: as long as it takes.
    """

    timeout_seconds: float | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    def why_end(self) -> str | None:
        """Return why the trial must end now, or None."""
        if self.cancelled.is_set():
            return CANCELLED
        limit = self.timeout_seconds
        return TOO_LONG if limit and time.monotonic() - self.began >= limit else None


def estimate(
    config: Config, data_dir: Path, tell: Callable[[str], None], leash: Leash | None = None
) -> Estimate:
    """Try out the run that a configuration would make, without making one.

    Token files that are not there yet are made and kept, since the run needs them anyway.

    Args:
        data_dir: the workspace's ``data`` folder.
        tell: is told of each phase, in words.
        leash: ends the process, and all that it started, early.

    Returns:
        Among others ``parameters``, ``tokens``, ``steps``, ``estimated_seconds`` and
        ``estimated_memory_bytes``; see :func:`trainer.engine.estimate.estimate`.

    Raises:
        TrainerError: of the class with which the run would fail.
        TrialEndedError: the leash ended it.
    """
    config, choice = settle(config)
    if choice.reason:
        tell(choice.reason)
    with tempfile.TemporaryDirectory(prefix="llm-trainer-") as scratch:
        folder = Path(scratch)
        (folder / "config.toml").write_text(configuration.to_toml(config, secrets=True), "utf-8")
        command = module_command(
            ESTIMATE_MODULE,
            "--folder",
            scratch,
            "--data",
            str(data_dir.absolute()),
            "--while-asked",
        )
        leash = leash or Leash()
        answer = _ask(command, tell, leash)
        if "tokenized" in answer:
            answer = _ask(command, tell, leash)
    found: Estimate = answer["estimate"]
    return found


class TrialEndedError(TrainerError):
    """A trial was ended before it knew anything."""

    kind = "trial_ended"


def _ask(command: Sequence[str], tell: Callable[[str], None], leash: Leash) -> dict[str, Any]:
    """Run the process and return its last document.

    Raises:
        TrainerError: the process told of an error, or ended without an answer.
        TrialEndedError: the leash ended it.
    """
    answer: dict[str, Any] = {}
    with tempfile.TemporaryFile() as stderr:
        with _started(command, stderr, leash) as stdout:
            for line in stdout:
                answer = json.loads(line)
                if "phase" in answer:
                    tell(f"{answer['phase']} …")
        finished = "estimate" in answer or "tokenized" in answer or "error" in answer
        if not finished and (reason := leash.why_end()):
            raise TrialEndedError(f"Trying out the run was ended: {_REASONS[reason]}.")
        if "error" in answer:
            raise error_from(answer["error"])
        if "estimate" not in answer and "tokenized" not in answer:
            raise TrainerError(
                f"Trying out the run failed: {_last_line(stderr)}",
                "Check that torch is installed: python -c 'import torch'.",
            )
    return answer


_REASONS = {CANCELLED: "it was cancelled", TOO_LONG: "it took too long"}
_LOOK_SECONDS = 0.1


@contextlib.contextmanager
def _started(command: Sequence[str], stderr: IO[bytes], leash: Leash) -> Iterator[IO[str]]:
    """Start the process in a session of its own; leaving ends it and whatever it has started.

    Its standard input is a pipe that nobody writes to: it ends with this process.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment(),
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    threading.Thread(target=_hold, args=(process, leash), daemon=True).start()
    try:
        yield process.stdout
    finally:
        _end(process)
        process.__exit__(None, None, None)


def _hold(process: subprocess.Popen[str], leash: Leash) -> None:
    """Wait for the end of the process, or bring it about."""
    while leash.why_end() is None:
        try:
            process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return
    _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process and its children, those too that outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "no message"
