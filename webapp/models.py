"""The models that can be chosen on a page: runs, and the checkpoints they have saved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from trainer import formats
from trainer.errors import NotFoundError
from trainer.runs import Run, RunStore, status_word
from trainer.store.checkpoints import Checkpoint

MOST_RUNS = 200
_TITLE_LENGTH = 24


@dataclass(frozen=True)
class ModelOption:
    """One checkpoint of a run; ``value`` is what a form sends for it, ``title`` says more of it."""

    value: str
    label: str
    title: str
    step: int


@dataclass(frozen=True)
class RunModels:
    """The checkpoints of one run; one that has saved none yet has no options."""

    run_id: str
    title: str
    status: str
    options: Sequence[ModelOption]

    @property
    def heading(self) -> str:
        """Name the run and say what it is doing."""
        return f"{self.title} · {self.status}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as the pages' scripts read it."""
        return asdict(self) | {"heading": self.heading}


def choosable(store: RunStore, wanted: Iterable[str] = ()) -> list[RunModels]:
    """List the models there are, those of the newest runs first.

    Args:
        wanted: run ids that are listed in any case, if there are such runs.
    """
    runs = list(store.list(limit=MOST_RUNS).runs)
    listed = {run.run_id for run in runs}
    runs += _found(store, [run_id for run_id in wanted if run_id and run_id not in listed])
    found = ((run, store.checkpoints(run.run_id)) for run in runs)
    kept = set(wanted)
    return [
        models_of(run, checkpoints)
        for run, checkpoints in found
        if checkpoints or run.active or run.run_id in kept
    ]


def models_of(run: Run, checkpoints: Iterable[Checkpoint]) -> RunModels:
    """Describe the checkpoints of a run."""
    options = [
        ModelOption(f"{run.run_id} {one.name}", _label(run, one), _origin(one), one.step)
        for one in checkpoints
    ]
    return RunModels(run.run_id, run.title, status_word(run), options)


def _origin(checkpoint: Checkpoint) -> str:
    """Say how far it was trained; only an imported model is saved before its first step."""
    return f"Step {checkpoint.step:,}" if checkpoint.step else "Imported"


def _label(run: Run, checkpoint: Checkpoint) -> str:
    """Say which checkpoint it is, and what loss it was measured to have."""
    title = run.title
    if len(title) > _TITLE_LENGTH:
        title = f"{title[: _TITLE_LENGTH - 1].rstrip()}…"
    parts = [title, checkpoint.name]
    if checkpoint.val_loss is not None:
        before = checkpoint.evaluated_before
        at = "" if before is None else f" at step {before:,}"
        parts.append(f"loss {formats.loss(checkpoint.val_loss)}{at}")
    return " · ".join(parts)


def _found(store: RunStore, run_ids: Iterable[str]) -> list[Run]:
    found = []
    for run_id in dict.fromkeys(run_ids):
        try:
            found.append(store.get(run_id))
        except NotFoundError:
            continue  # A link may name a run that is gone; the form then says so when it is sent.
    return found
