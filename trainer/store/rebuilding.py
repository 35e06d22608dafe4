"""A run's state made anew where ``state.json`` is missing or damaged.

What was fixed at the start stands in ``meta.json``, how the last process ended in the metrics, and
the figures in the JSON beside the checkpoints. That is enough to show the run, and to resume it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from trainer.config import DataSettings
from trainer.datasource import DatasetNameError, identify
from trainer.errors import StoreError
from trainer.store import lock
from trainer.store.checkpoints import Checkpoint, list_checkpoints
from trainer.store.files import read_record
from trainer.store.metrics import MetricsReader
from trainer.store.records import ENDED, ErrorRecord, Meta, State, Status, written_time
from trainer.store.workspace import RunPaths

_LEFT = ("meta", "config", "metrics", "checkpoints")


def is_run_folder(paths: RunPaths) -> bool:
    """Say whether enough is left to call it a run."""
    return paths.folder.is_dir() and any(getattr(paths, name).exists() for name in _LEFT)


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
    ended = _last_end(paths)
    saved = newest.step if newest else None
    # The worker that owns it writes the file anew within a second.
    status: Status = "running" if owned else ended.status
    reason = meta.data.get("reason") if meta else None
    return State(
        run_id=paths.run_id,
        status=status,
        step=max((step for step in (saved, ended.step) if step is not None), default=None),
        epoch=newest.epoch if newest else None,
        val_loss=newest.val_loss if newest else None,
        val_word_perplexity=newest.val_word_perplexity if newest else None,
        best_val_loss=_best_loss(checkpoints),
        dataset=_label(meta.data.get("used")) if meta else None,
        notices=[reason] if isinstance(reason, str) else [],
        error=None if owned else _error(problem, newest, status),
        created_at=created_at,
        updated_at=newest.saved_at if newest and newest.saved_at else created_at,
    )


class _End(NamedTuple):
    """How a run's last process ended, and the last step that it reached."""

    status: Status
    step: int | None


def _last_end(paths: RunPaths) -> _End:
    """Read in the metrics how the run ended; a process that did not write it was interrupted."""
    try:
        with MetricsReader(paths.metrics) as reader:
            sittings, newest = reader.sittings(), reader.last_step()
    except StoreError:
        return _End("failed", None)
    if not sittings:
        return _End("failed", newest)
    last = sittings[-1]
    ended: Status = last["ended"] if last["ended"] in ENDED else "interrupted"
    return _End(ended, newest if last["to_step"] is None else last["to_step"])


def _label(used: object) -> str | None:
    """Name the text as lists do: a file by its last part, a data set by its title."""
    if not isinstance(used, str):
        return None
    try:
        return identify(DataSettings(dataset_name=used)).label
    except DatasetNameError:
        return used


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


def _error(problem: str, newest: Checkpoint | None, status: Status) -> ErrorRecord:
    shown = "What is shown was put together from the run's other files."
    if newest is None:
        hint = "It has no checkpoint: start a new run with its config.toml, or delete it."
    elif status == "completed":
        hint = "It is complete: its state is written anew when it is resumed with more epochs."
    else:
        hint = f"Resume the run to go on from {newest.name}.pt: its state is then written anew."
    return ErrorRecord(kind="store", message=f"{problem} {shown}", hint=hint)
