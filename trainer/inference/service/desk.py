"""One model and the jobs that it works on: texts all together, tasks by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from trainer.errors import TrainerError
from trainer.inference.protocol import HeldModel
from trainer.inference.service.attempts import attempt
from trainer.inference.service.memory import too_large
from trainer.inference.service.parts import Identity, Model
from trainer.inference.service.stepping import Tasks
from trainer.inference.service.surroundings import Surroundings
from trainer.inference.service.texts import Texts
from trainer.inference.service.work import Task, Text, Work

MakeRoom = Callable[[int, "Desk"], bool]
"""Makes room for so many bytes of a desk if it can, and says whether there is."""


class Desk:
    """The jobs of one model, which may still be on its way."""

    def __init__(
        self, identity: Identity, path: Path, around: Surroundings, make_room: MakeRoom
    ) -> None:
        self.identity, self.path = identity, path
        self.model: Model | None = None
        self.last_used = around.clock()
        self._around, self._make_room = around, make_room
        self._texts = Texts(around, self._refusal, self._has_room)
        self._tasks = Tasks(around)

    def works(self) -> Iterator[Work]:
        """Return all jobs that have not ended."""
        yield from self._texts
        yield from self._tasks

    @property
    def in_use(self) -> bool:
        """Whether any job is here."""
        return bool(self._texts.waiting) or self.at_work

    @property
    def at_work(self) -> bool:
        """Whether a job has begun that needs the model until its end."""
        return bool(self._texts.going or self._tasks)

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return self._texts.waiting + (len(self._tasks) if self.model is None else 0)

    @property
    def bytes(self) -> int:
        """Memory that the model takes, with the texts under way."""
        return 0 if self.model is None else self._bytes_with(self.model, self._texts.rows)

    def told(self) -> HeldModel:
        """Describe it for people."""
        jobs = self._texts.going + len(self._tasks)
        return HeldModel(checkpoint=str(self.path), bytes=self.bytes, jobs=jobs)

    # ------------------------------------------------------------------ turns

    def admit(self) -> None:
        """Let texts begin that have waited."""
        if self.model is not None:
            self._guard(partial(self._texts.admit, self.model))

    def turn(self) -> bool:
        """Write one token of each text, and do one step of one task; say whether that was work."""
        if self.model is None:
            return False
        written = self._guard(partial(self._texts.write, self.model))
        stepped = self._tasks.step(self.model)
        if written or stepped:
            self.last_used = self._around.clock()
        return bool(written or stepped)

    def _guard(self, call: Callable[[], object]) -> object:
        """Do something with the batch; where that fails, its texts do, and nothing else."""
        found = attempt(call)
        if isinstance(found, TrainerError) and self.model is not None:
            self._texts.spoil(self.model, found)
        return found

    # ------------------------------------------------------------------ jobs

    def take(self, work: Work) -> None:
        """Add a job."""
        if isinstance(work, Text):
            self._texts.put(work)
        elif isinstance(work, Task):
            self._tasks.put(work)

    def cancel(self, work: Work) -> None:
        """End a job that its client wants no more; it is told what there is."""
        if isinstance(work, Text):
            self._guard(partial(self._texts.cancel, work, self.model))
        elif isinstance(work, Task):
            self._tasks.cancel(work)

    def drop(self, work: Work) -> None:
        """End a job whose client is gone."""
        if isinstance(work, Text):
            self._guard(partial(self._texts.drop, work, self.model))
        elif isinstance(work, Task):
            self._tasks.drop(work)

    def fail_all(self, error: TrainerError) -> None:
        """End all jobs with an error."""
        for text in list(self._texts):
            self._texts.fail(text, error)
        for task in list(self._tasks):
            self._tasks.fail(task, error)

    # ------------------------------------------------------------------ memory

    def _has_room(self, rows: int) -> bool:
        return self.model is not None and self._make_room(rows * self.model.row_bytes, self)

    def _refusal(self, rows: int) -> TrainerError | None:
        needed = 0 if self.model is None else self._bytes_with(self.model, rows)
        limit = self._around.limit_bytes
        return too_large(f"{rows} texts at once by {self.path.name}", needed, limit)

    def _bytes_with(self, model: Model, rows: int) -> int:
        return model.bytes + rows * model.row_bytes
