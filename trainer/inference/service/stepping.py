"""Jobs that are no generations: each does a step, and then the next one does."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial

from trainer.errors import TrainerError
from trainer.inference.protocol import Event
from trainer.inference.service.attempts import attempt
from trainer.inference.service.parts import Model
from trainer.inference.service.surroundings import Surroundings
from trainer.inference.service.work import Task, cancelled


class Tasks:
    """Scores, evaluations, exports, … with one model, or those that need none."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._tasks: deque[Task] = deque()

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def put(self, task: Task) -> None:
        """Add one behind the others."""
        self._tasks.append(task)

    def step(self, model: Model | None) -> bool:
        """Do one step of the next one; say whether there was one to do."""
        task = next((task for task in self._tasks if not task.preparing), None)
        if task is None:
            return False
        self._tasks.remove(task)
        self._tasks.append(task)
        if model is not None and task.is_unprepared:
            self._around.prepare(task, model)
        else:
            self._go_on(task, model)
        return True

    def cancel(self, task: Task) -> None:
        """End one that its client wants no more."""
        self.fail(task, cancelled(task.command))

    def fail(self, task: Task, error: TrainerError) -> None:
        """End one with an error."""
        task.fail(error)
        self.drop(task)

    def drop(self, task: Task) -> None:
        """End one."""
        self._tasks.remove(task)
        self._around.ended(task)

    def _go_on(self, task: Task, model: Model | None) -> None:
        event = attempt(partial(self._next_event, task, model))
        if isinstance(event, TrainerError):
            self.fail(task, event)
        elif event is not None:
            task.send(event)
            if event["type"] == "done":
                self.drop(task)

    def _next_event(self, task: Task, model: Model | None) -> Event | None:
        if task.steps is None:
            task.steps = self._around.shelf.steps(task.command, model, task.send)
        return next(task.steps)
