"""Which runs a list shows, in which order, and where its next page begins."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from trainer.errors import UsageError
from trainer.filtering import EVERY_RUN, STATUSES, Filter

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

_WRITTEN_SORTS = frozenset({"created", "name", "status"})


@dataclass(frozen=True)
class Wanted:
    """The runs of a list."""

    query: Filter = EVERY_RUN
    status: str | None = None
    tag: str | None = None
    archived: bool = False

    def among(self, runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
        """Return those that are archived or not, as wanted, and those of them that match."""
        there = [run for run in runs if run.annotations.archived == self.archived]
        if self == Wanted(archived=self.archived):
            return there, there
        return there, [run for run in there if self.takes(run)]

    def takes(self, run: Run) -> bool:
        """Say whether a run matches."""
        if self.status not in (None, run.status) and not (self.status == "active" and run.active):
            return False
        if self.tag is not None and self.tag not in run.annotations.tags:
            return False
        return self.query.matches(run)


def in_order(runs: Sequence[Run], sort: str) -> list[Run]:
    """Sort runs; those that lack the value come last either way, pinned ones first.

    Args:
        runs: newest first, as runs that are alike stay.
    """
    if sort == "-created":
        ordered = list(runs)
    else:
        values = list(map(SORTS[sort.removeprefix("-")], runs))
        known = [index for index, value in enumerate(values) if value is not None]
        known.sort(key=values.__getitem__, reverse=sort.startswith("-"))
        ordered = [runs[index] for index in known]
        ordered += [run for run, value in zip(runs, values, strict=True) if value is None]
    pinned = [run for run in ordered if run.annotations.pinned]
    return [*pinned, *(run for run in ordered if not run.annotations.pinned)] if pinned else ordered


def check_listing(status: str | None, sort: str, limit: int = 1) -> None:
    """Refuse a list that cannot be.

    Raises:
        UsageError: with what is allowed.
    """
    if status is not None and status not in STATUSES:
        raise UsageError(f"'{status[:80]}' is not a status.", f"There are: {', '.join(STATUSES)}.")
    if sort.removeprefix("-") not in SORTS:
        raise UsageError(f"'{sort[:80]}' is not a sort.", f"There are: {', '.join(SORTS)}.")
    if not 1 <= limit <= 1000:
        raise UsageError(f"limit = {limit} is not from 1 to 1000.")


# ---------------------------------------------------------------------- pages


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the last run of a page stood: a place in the order, whatever becomes of that run."""

    pinned: bool
    value: float | str | None
    run_id: str


def cursor_of(run: Run, sort: str) -> str:
    """Return what a page says of its last run, so that the next one can begin after it."""
    cursor = _Cursor(run.annotations.pinned, SORTS[sort.removeprefix("-")](run), run.run_id)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def after_cursor(ordered: Sequence[Run], sort: str, cursor: str | None) -> int:
    """Return where the page after a cursor begins in a sorted list.

    Raises:
        UsageError: the cursor is not of such a list.
    """
    if cursor is None:
        return 0
    known, key = _read_cursor(cursor, sort), SORTS[sort.removeprefix("-")]

    def lies_after(run: Run) -> bool:
        return _lies_after(run, key(run), known, descending=sort.startswith("-"))

    return bisect_left(ordered, True, key=lies_after)


def _lies_after(run: Run, value: Any, cursor: _Cursor, *, descending: bool) -> bool:
    """Say whether a run comes after a place, in the order of :func:`in_order`."""
    if run.annotations.pinned != cursor.pinned:
        return cursor.pinned
    if (value is None) != (cursor.value is None):
        return value is None
    if value != cursor.value:
        return bool(value < cursor.value if descending else value > cursor.value)
    return run.run_id < cursor.run_id


def _read_cursor(text: str, sort: str) -> _Cursor:
    try:
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.json.decode(content, type=_Cursor)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        cursor = None
    if cursor is None or not _is_of(cursor, sort):
        raise UsageError(
            f"'{text[:80]}' is not a cursor of this list.", "Start from the first page."
        )
    return cursor


def _is_of(cursor: _Cursor, sort: str) -> bool:
    written = sort.removeprefix("-") in _WRITTEN_SORTS
    return cursor.value is None or isinstance(cursor.value, str) == written
