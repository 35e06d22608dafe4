"""The models that programs may name: runs, and their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from trainer.errors import NotFoundError, UsageError
from trainer.formats import parse_time
from trainer.runs import Run, RunStore
from trainer.store.checkpoints import list_checkpoints
from webapp.openai.refusals import ModelNotFoundError

NEWEST = "latest"


@dataclass(frozen=True)
class Model:
    """A model by the name that answers give it: ``run_id``, or ``run_id:checkpoint``."""

    run_id: str
    checkpoint: str | None = None

    @property
    def name(self) -> str:
        """What programs call it."""
        return f"{self.run_id}:{self.checkpoint}" if self.checkpoint else self.run_id


def find(store: RunStore, name: str) -> Model:
    """Return the model of a name; ``latest`` stands for the newest run.

    Of a run id the beginning is enough where no other run's begins so.

    Raises:
        ModelNotFoundError: there is none, or it has no such checkpoint.
    """
    run_id, colon, checkpoint = name.partition(":")
    try:
        whole = store.resolve(run_id)
        if colon and not checkpoint:
            raise NotFoundError(f"There is no model '{name[:80]}'.")
        store.checkpoint_path(whole, checkpoint or NEWEST)
    except (NotFoundError, UsageError) as error:
        raise ModelNotFoundError(error.message) from error
    return Model(whole, checkpoint or None)


def every_entry(store: RunStore) -> Iterator[dict[str, Any]]:
    """Describe each run that has a checkpoint, and each of its checkpoints; not archived ones."""
    for run in store.list_all():
        names = [checkpoint.name for checkpoint in list_checkpoints(run.paths.checkpoints)]
        if names:
            for name in (None, *names):
                yield _entry(run, Model(run.run_id, name))


def entry(store: RunStore, name: str) -> dict[str, Any]:
    """Describe the model of a name; raises what :func:`find` raises."""
    model = find(store, name)
    return _entry(store.get(model.run_id), model)


def _entry(run: Run, model: Model) -> dict[str, Any]:
    created = int(parse_time(run.state.created_at).timestamp())
    return {"id": model.name, "object": "model", "created": created, "owned_by": "llm-trainer"}
