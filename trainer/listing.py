"""Which runs a list shows, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, get_args

from trainer.errors import UsageError
from trainer.store.records import Status

if TYPE_CHECKING:
    from trainer.runs import Run

SORTS: dict[str, Callable[[Run], Any]] = {
    "created": lambda run: run.run_id,
    "name": lambda run: run.title.lower(),
    "status": lambda run: run.status,
    "val_loss": lambda run: run.state.best_val_loss,
    "perplexity": lambda run: run.state.best_val_word_perplexity,
    "train_loss": lambda run: run.state.train_loss,
    "speed": lambda run: run.state.tokens_per_second,
    "elapsed": lambda run: run.state.elapsed_seconds,
}
"""What a list can be sorted by; a leading ``-`` turns the order round."""


def matches(run: Run, *, status: str | None, query: str, tag: str | None) -> bool:
    """Say whether a run belongs in a filtered list."""
    if status is not None and status != run.status and not (status == "active" and run.active):
        return False
    if tag is not None and tag not in run.annotations.tags:
        return False
    state, notes = run.state, run.annotations
    haystack = [run.run_id, notes.name, *notes.tags, state.dataset, state.device_name, run.status]
    text = " ".join(part for part in haystack if part).lower()
    return all(word in text for word in query.lower().split())


def in_order(runs: Sequence[Run], sort: str) -> list[Run]:
    """Sort runs; those that lack the value come last either way, pinned ones first."""
    key = SORTS[sort.removeprefix("-")]
    known = [run for run in runs if key(run) is not None]
    unknown = [run for run in runs if key(run) is None]
    known.sort(key=key, reverse=sort.startswith("-"))
    return sorted([*known, *unknown], key=lambda run: not run.annotations.pinned)


def check_listing(status: str | None, sort: str, limit: int) -> None:
    """Refuse a list that cannot be.

    Raises:
        UsageError: with what is allowed.
    """
    statuses = (*get_args(Status), "active")
    if status is not None and status not in statuses:
        raise UsageError(f"'{status[:80]}' is not a status.", f"There are: {', '.join(statuses)}.")
    if sort.removeprefix("-") not in SORTS:
        raise UsageError(f"'{sort[:80]}' is not a sort.", f"There are: {', '.join(SORTS)}.")
    if not 1 <= limit <= 1000:
        raise UsageError(f"limit = {limit} is not from 1 to 1000.")


def position(runs: Sequence[Run], cursor: str | None) -> int:
    """Return where the page after a cursor begins.

    Raises:
        UsageError: the cursor is not of this list.
    """
    if cursor is None:
        return 0
    for index, run in enumerate(runs):
        if run.run_id == cursor:
            return index + 1
    raise UsageError(f"'{cursor[:80]}' is not a cursor of this list.", "Start from the first page.")
