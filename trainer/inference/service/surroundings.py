"""What the jobs of a model need of the process around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from trainer.errors import TrainerError
from trainer.inference.service.aside import Aside
from trainer.inference.service.parts import Model, Shelf
from trainer.inference.service.work import Work


@dataclass(frozen=True)
class Surroundings:
    """The parts that all models of a process share.

    Attributes:
        ended: is called with each job that has ended.
        limit_bytes: what all models together may take.
    """

    shelf: Shelf
    aside: Aside
    clock: Callable[[], float]
    ended: Callable[[Work], None]
    limit_bytes: int

    def prepare(self, work: Work, model: Model) -> None:
        """Turn a job's long text into tokens aside, for others would wait for that."""
        work.preparing = True

        def then(_: TrainerError | None) -> None:  # The job itself meets the same error.
            work.preparing, work.prepared = False, True

        self.aside.run(partial(model.prepare, work.text), then)
