"""Who worked on a run when: its sittings, one for each process, as rows for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from trainer.formats import parse_time, plural
from trainer.runs import only_waited
from trainer.store.records import State


@dataclass(frozen=True)
class SittingRow:
    """One process: from when to when, from which step to which, and how it ended.

    Attributes:
        seconds: how long it had the machine; None where nobody saw it end, or it only waited.
        ended: in a word; a process that works on the run now is ``running now``.
    """

    started_at: str
    ended_at: str | None
    from_step: int | None
    to_step: int | None
    seconds: float | None
    ended: str

    @property
    def steps(self) -> int | None:
        """How many steps it has done."""
        if self.from_step is None or self.to_step is None:
            return None
        return self.to_step - self.from_step


def sitting_rows(sittings: Iterable[Mapping[str, Any]], state: State) -> list[SittingRow]:
    """Return the sittings oldest first; the last of an active run goes on to its present step.

    The first begins at step 0, which is written down only when it ends. One that nobody saw end
    came at least as far as the next one began.
    """
    known = [dict(sitting) for sitting in sittings]
    if known and known[0]["from_step"] is None:
        known[0]["from_step"] = 0
    rows = [_row(sitting, state) for sitting in known]
    return [_reached(row, _next_start(rows[place:])) for place, row in enumerate(rows, 1)]


def _row(sitting: Mapping[str, Any], state: State) -> SittingRow:
    process = state.process
    present = sitting["ended"] is None and process is not None and process.pid == sitting["pid"]
    seen_last = state.updated_at if present else sitting["ended_at"]
    return SittingRow(
        started_at=sitting["started_at"],
        ended_at=sitting["ended_at"],
        from_step=sitting["from_step"],
        to_step=state.step if present else sitting["to_step"],
        seconds=None if only_waited(state) else _seconds_between(sitting["started_at"], seen_last),
        ended="running now" if present else sitting["ended"] or "interrupted",
    )


def _reached(row: SittingRow, next_start: int | None) -> SittingRow:
    """Return the row of a process with the step that it reached, as the next one shows it."""
    if row.to_step is not None or row.from_step is None or next_start is None:
        return row
    return replace(row, to_step=next_start) if next_start > row.from_step else row


def fold_attempts(rows: Sequence[SittingRow]) -> list[SittingRow]:
    """Put neighbouring rows of processes of which no step was kept together into one."""
    folded: list[SittingRow] = []
    marked = [(row, _in_vain(row, _next_start(rows[place:]))) for place, row in enumerate(rows, 1)]
    for in_vain, group in groupby(marked, key=itemgetter(1)):
        those = [row for row, _ in group]
        folded += [_together(those)] if in_vain and len(those) > 1 else those
    return folded


def _next_start(rows: Iterable[SittingRow]) -> int | None:
    """Return the step at which the first of these processes that came so far began."""
    return next((row.from_step for row in rows if row.from_step is not None), None)


def _in_vain(row: SittingRow, next_from: int | None) -> bool:
    """Say whether no step of a process was kept: the next one began no further on.

    Of one that did not get as far as to begin, not even the step is known where it would have.
    """
    if row.ended == "running now" or row.to_step is not None:
        return False
    return row.from_step is None or (next_from is not None and next_from <= row.from_step)


def _together(rows: Sequence[SittingRow]) -> SittingRow:
    attempts = plural(len(rows), "attempt")
    return replace(
        rows[0],
        ended_at=rows[-1].ended_at,
        seconds=None,
        ended=f"{attempts} without a step that was kept",
    )


def _seconds_between(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (parse_time(end) - parse_time(start)).total_seconds())
