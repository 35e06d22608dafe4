"""Which checkpoint a run can go on from, and what is said of it before anything is loaded."""

from __future__ import annotations

from trainer.errors import ConflictError, NotFoundError
from trainer.store.checkpoints import (
    Checkpoint,
    any_checkpoint,
    is_checkpoint_name,
    list_checkpoints,
)
from trainer.store.records import State
from trainer.store.truth import nothing_saved_words
from trainer.store.workspace import RunPaths


def check_anything_saved(paths: RunPaths, source: str) -> None:
    """Refuse to resume a run that ended before its first checkpoint.

    Raises:
        NotFoundError: with the command that starts it anew.
    """
    if is_checkpoint_name(source) and not any_checkpoint(paths.checkpoints):
        raise NotFoundError(
            f"Run {paths.run_id} has no checkpoint '{source}'.", nothing_saved_words(paths)
        )


def advice(state: State, paths: RunPaths) -> str:
    """Say what can be done about a run that failed, vanished, or was stopped before it saved."""
    if state.error is not None:
        return state.error.hint
    if state.status == "stopped" and not any_checkpoint(paths.checkpoints):
        return nothing_saved_words(paths)
    return ""


def check_steps_left(state: State, paths: RunPaths, source: str) -> None:
    """Refuse to go on from the last step of a run that is complete.

    Raises:
        ConflictError: there is nothing left to do.
    """
    if state.status != "completed":
        return
    chosen = chosen_checkpoint(paths, source)
    last_step = state.total_steps or state.step
    if source == "latest" or (chosen and last_step and chosen.step >= last_step):
        where = "" if source == "latest" else f", and '{source}' is of that step"
        raise ConflictError(
            f"Run {paths.run_id} is complete: its last step is done{where}.",
            "Add epochs with --more-epochs N.",
        )


def chosen_checkpoint(paths: RunPaths, source: str) -> Checkpoint | None:
    """Return what stands in the JSON file beside a checkpoint, or None where it cannot be read."""
    return next((c for c in list_checkpoints(paths.checkpoints) if c.name == source), None)


def source_words(source: str, chosen: Checkpoint | None, total_steps: int | None) -> str:
    """Write ``latest.pt (step 450 of 1,149, verified first)``.

    Args:
        chosen: what is known of it; of nothing but its name no step can be told.
        total_steps: of the plan, or None where it is about to change.
    """
    if chosen is None:
        return f"{source}.pt (verified first)"
    of = f" of {total_steps:,}" if total_steps else ""
    return f"{source}.pt (step {chosen.step:,}{of}, verified first)"
