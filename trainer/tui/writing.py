"""What the model of a checkpoint is asked to do, and what comes of it while the screen goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.message import Message

from trainer.errors import TrainerError
from trainer.inference.client import Job, ModelClient
from trainer.inference.request import GenerationSettings
from trainer.runs import RunStore

ALTERNATIVES = 5
"""Likeliest tokens that are told of each place in a text."""

Post = Callable[[Message], object]


class TaskTold(Message):
    """The model has done a part of a task, or the last of it."""

    def __init__(self, task: Task, event: dict[str, Any]) -> None:
        super().__init__()
        self.task, self.event = task, event


class TaskFailed(Message):
    """A task could not be done, or not to its end."""

    def __init__(self, task: Task, error: TrainerError) -> None:
        super().__init__()
        self.task, self.error = task, error


class Task(ABC):
    """One thing under way with the model of a run's checkpoint."""

    def __init__(self, run_id: str, checkpoint: str) -> None:
        self.run_id, self.checkpoint = run_id, checkpoint
        self._job: Job | None = None
        self._cancelled = False

    def perform(self, store: RunStore, model: ModelClient, post: Post) -> None:
        """Do it to the end and post what comes; blocks, so it needs a thread."""
        try:
            path = store.checkpoint_path(self.run_id, self.checkpoint)
            with self._begin(model, path) as self._job:
                if self._cancelled:
                    self._job.cancel()
                for event in self._job:
                    post(TaskTold(self, event))
        except TrainerError as error:
            post(TaskFailed(self, error))

    def cancel(self) -> None:
        """End soon; what was written stays."""
        self._cancelled = True
        if self._job is not None:
            self._job.cancel()

    @abstractmethod
    def _begin(self, model: ModelClient, path: Path) -> Job: ...


class Warming(Task):
    """The model made ready for what may be asked next."""

    def _begin(self, model: ModelClient, path: Path) -> Job:
        return model.warm(path)


class Writing(Task):
    """A text that goes on from a prompt."""

    def __init__(self, run_id: str, checkpoint: str, settings: GenerationSettings) -> None:
        super().__init__(run_id, checkpoint)
        self.settings = settings

    def _begin(self, model: ModelClient, path: Path) -> Job:
        return model.generate(path, self.settings)


class Scoring(Task):
    """A text of somebody's own, whose every token is looked at."""

    def __init__(self, run_id: str, checkpoint: str, text: str) -> None:
        super().__init__(run_id, checkpoint)
        self.text = text

    def _begin(self, model: ModelClient, path: Path) -> Job:
        return model.score(path, self.text, alternatives=ALTERNATIVES)
