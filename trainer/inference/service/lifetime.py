"""When the shared process ends by itself, and how much of the machine it takes until then."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from trainer.inference.service.listener import Listener
from trainer.inference.service.scheduler import Scheduler

KEEP_VARIABLE = "LLM_TRAINER_INFERENCE_KEEP_SECONDS"
"""How long a model is kept that nobody uses."""

END_VARIABLE = "LLM_TRAINER_INFERENCE_END_SECONDS"
"""How long the shared process stays when nothing is asked of it."""

KEEP_SECONDS = 300.0
END_SECONDS = 900.0
LOOK_SECONDS = 1.0
FIRST_CLIENT_SECONDS = 30.0
"""Whoever has started the process comes by then."""


def seconds_from(variable: str, default: float) -> float:
    """Read a number of seconds from the environment; what is no number counts as not set."""
    try:
        return max(0.0, float(os.environ[variable]))
    except (KeyError, ValueError):
        return default


class Lifetime:
    """Decides when the shared process is over; ``reason`` says why.

    It is over when nothing was asked of it for long, when its workspace is gone, when clients can
    no longer find its socket, or when a client of another version has asked it to make way. Jobs
    under way hold up all but the loss of the workspace.
    """

    def __init__(
        self,
        home: Path,
        listener: Listener,
        scheduler: Scheduler,
        end_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reason = ""
        self._home, self._listener, self._scheduler = home, listener, scheduler
        self._end_seconds, self._clock = end_seconds, clock
        self._next_look = 0.0

    def over(self) -> bool:
        """Say whether to end now."""
        if self._scheduler.retiring:
            self._listener.leave()
            self.reason = self.reason or "another version takes its place"
            return self._scheduler.idle
        if self._scheduler.idle and self._scheduler.idle_seconds >= self._patience_seconds:
            self.reason = f"nothing was asked of it for {self._end_seconds:.0f} s"
            return True
        return self._clock() >= self._next_look and self._looked()

    @property
    def _patience_seconds(self) -> float:
        if self._listener.has_met_somebody:
            return self._end_seconds
        return max(FIRST_CLIENT_SECONDS, self._end_seconds)

    @property
    def workspace_is_gone(self) -> bool:
        return not self._home.is_dir()

    def _looked(self) -> bool:
        self._next_look = self._clock() + LOOK_SECONDS
        if self.workspace_is_gone:
            self.reason = "its workspace is gone"
        elif not self._listener.found:
            self.reason = "its socket is gone"
            self._scheduler.retiring = True
        return self.workspace_is_gone
