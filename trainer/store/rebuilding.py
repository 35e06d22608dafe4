"""A run's state made anew where ``state.json`` is missing or damaged.

What was fixed at the start stands in ``meta.json``, how far training came in the JSON beside the
checkpoints. That is enough to show the run, and to resume it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from trainer.errors import StoreError
from trainer.store import lock
from trainer.store.checkpoints import Checkpoint, list_checkpoints
from trainer.store.files import read_record
from trainer.store.records import ErrorRecord, Meta, State, written_time
from trainer.store.workspace import RunPaths

_LEFT = ("meta", "config", "metrics", "checkpoints")


def is_run_folder(paths: RunPaths) -> bool:
    """Say whether enough is left to call it a run."""
    return any(getattr(paths, name).exists() for name in _LEFT)


def rebuilt_state(paths: RunPaths, problem: str) -> State:
    """Return what is known of a run without its ``state.json``.

    Args:
        problem: what is wrong with that file, as a sentence.
    """
    meta = _meta(paths)
    checkpoints = list_checkpoints(paths.checkpoints)
    newest = max(checkpoints, key=lambda c: c.step, default=None)
    created_at = meta.created_at if meta else _changed_at(paths)
    owned = lock.is_held(paths.lock)
    return State(
        run_id=paths.run_id,
        # Its worker writes the file anew within a second.
        status="running" if owned else "failed",
        step=newest.step if newest else None,
        epoch=newest.epoch if newest else None,
        val_loss=newest.val_loss if newest else None,
        val_word_perplexity=newest.val_word_perplexity if newest else None,
        best_val_loss=_best_loss(checkpoints),
        dataset=meta.data.get("used") if meta else None,
        error=None if owned else _error(problem, newest),
        created_at=created_at,
        updated_at=newest.saved_at if newest and newest.saved_at else created_at,
    )


def _meta(paths: RunPaths) -> Meta | None:
    try:
        return read_record(paths.meta, Meta)
    except (OSError, StoreError):
        return None


def _changed_at(paths: RunPaths) -> str:
    try:
        seconds = paths.folder.stat().st_mtime
    except OSError:
        seconds = 0.0
    return written_time(datetime.fromtimestamp(seconds, UTC))


def _best_loss(checkpoints: Sequence[Checkpoint]) -> float | None:
    losses = [c.val_loss for c in checkpoints if c.val_loss is not None]
    return min(losses, default=None)


def _error(problem: str, newest: Checkpoint | None) -> ErrorRecord:
    shown = "What is shown was put together from the run's other files."
    hint = (
        f"Resume the run to go on from {newest.name}.pt: its state is then written anew."
        if newest
        else "It has no checkpoint: start a new run with its config.toml, or delete it."
    )
    return ErrorRecord(kind="store", message=f"{problem} {shown}", hint=hint)
