"""What the handlers of one dashboard share; a handler gets it with :func:`services`."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from flask import current_app

from trainer import devices
from trainer.foresight.precedents import Precedents
from trainer.runs import RunStore
from webapp.answers import AnswerCache
from webapp.hubwatch import HubWatch
from webapp.live import LiveHub
from webapp.sparklines import Sparklines
from webapp.trials import Trials
from webapp.writing import Writers

EXTENSION = "llm_trainer"


class DeviceCache:
    """The devices of this machine, asked for once: the answer takes torch seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer: dict[str, Any] | None = None

    def get(self, *, refresh: bool = False) -> dict[str, Any]:
        """Return what can be trained on, as :func:`trainer.devices.probe` answers it.

        Raises:
            TrainerError: torch cannot be asked.
        """
        with self._lock:
            if self._answer is None or refresh:
                self._answer = devices.probe()
            return self._answer


@dataclass(frozen=True)
class Services:
    """The parts of a running dashboard.

    Attributes:
        store: the runs of the workspace.
        devices: what can be trained on here.
        writers: the processes that hold models and write text.
        live: pushes what is new to the pages.
        sparklines: the small curves of the list.
        hub: whether data sets can be fetched.
        precedents: what earlier runs have shown of a planned one.
        trials: tries a planned run out.
        answers: those made of files that stand still.
    """

    store: RunStore
    devices: DeviceCache
    writers: Writers
    live: LiveHub
    precedents: Precedents
    trials: Trials
    answers: AnswerCache = field(default_factory=AnswerCache)
    sparklines: Sparklines = field(default_factory=Sparklines)
    hub: HubWatch = field(default_factory=HubWatch)

    def close(self) -> None:
        """End the threads and processes that belong to the dashboard."""
        self.live.close()
        self.writers.close()
        self.trials.cancel()


def services() -> Services:
    """Return the parts of the dashboard whose request or event is being handled."""
    found: Services = current_app.extensions[EXTENSION]
    return found
