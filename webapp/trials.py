"""Trying a planned run out on this machine: one at a time, in a process of its own."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import ConflictError, TrainerError
from trainer.foresight.estimates import Estimate, Leash, TrialEndedError

TIMEOUT_SECONDS = 300.0

Ask = Callable[[Config, Callable[[str], None], Leash], Estimate]
"""Tries a configuration out, tells of its phases, and returns what it found."""

TrialStatus = Literal["under way", "done", "failed", "ended"]


@dataclass
class Trial:
    """One configuration that is or was tried out.

    Attributes:
        key: what the configuration amounts to; another one needs another trial.
        phase: what it is doing now, in words.
    """

    key: str
    leash: Leash
    status: TrialStatus = "under way"
    phase: str = "starting …"
    found: Estimate | None = None
    error: TrainerError | None = None
    over: threading.Event = field(default_factory=threading.Event)


class Trials:
    """The trial under way, or the one before it."""

    def __init__(self, ask: Ask, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._ask = ask
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self._latest: Trial | None = None

    def start(self, config: Config) -> Trial:
        """Begin to try a configuration out; the same one is not begun twice.

        Raises:
            ConflictError: another one is being tried out.
        """
        key = key_of(config)
        with self._lock:
            latest = self._latest
            if latest is not None and latest.status == "under way":
                if latest.key == key:
                    return latest
                raise ConflictError(
                    "Another configuration is being tried out.", "Cancel it, or wait a moment."
                )
            trial = self._latest = Trial(key, Leash(self._timeout_seconds))
        threading.Thread(target=self._run, args=(trial, config), name="trial", daemon=True).start()
        return trial

    def of(self, config: Config) -> Trial | None:
        """Return what is known from trying out a configuration: this very one."""
        latest = self._latest
        return latest if latest is not None and latest.key == key_of(config) else None

    def under_way(self) -> Trial | None:
        """Return the trial that is not over, of whatever configuration."""
        latest = self._latest
        return latest if latest is not None and latest.status == "under way" else None

    def cancel(self) -> None:
        """End the trial under way, and wait until its process is gone."""
        trial = self.under_way()
        if trial is not None:
            trial.leash.cancelled.set()
            trial.over.wait(10.0)

    def _run(self, trial: Trial, config: Config) -> None:
        def tell(phase: str) -> None:
            trial.phase = phase

        try:
            trial.found = self._ask(config, tell, trial.leash)
            trial.status = "done"
        except TrialEndedError as error:
            trial.error, trial.status = error, "ended"
        except TrainerError as error:
            trial.error, trial.status = error, "failed"
        finally:
            if trial.status == "under way":
                trial.status = "failed"
            trial.over.set()


def key_of(config: Config) -> str:
    """Name what a configuration amounts to."""
    values = configuration.as_flat(configuration.resolved(config))
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:16]
