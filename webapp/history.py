"""Who worked on a run when: its sittings, one for each process, as rows for reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainer.formats import parse_time
from trainer.store.records import State


@dataclass(frozen=True)
class SittingRow:
    """One process: from when to when, from which step to which, and how it ended.

    Attributes:
        seconds: how long it had the machine; None where nobody saw it end.
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
    """Return the sittings oldest first; the last of an active run goes on to its present step."""
    return [_row(sitting, state) for sitting in sittings]


def _row(sitting: Mapping[str, Any], state: State) -> SittingRow:
    process = state.process
    present = sitting["ended"] is None and process is not None and process.pid == sitting["pid"]
    seen_last = state.updated_at if present else sitting["ended_at"]
    return SittingRow(
        started_at=sitting["started_at"],
        ended_at=sitting["ended_at"],
        from_step=sitting["from_step"],
        to_step=state.step if present else sitting["to_step"],
        seconds=_seconds_between(sitting["started_at"], seen_last),
        ended="running now" if present else sitting["ended"] or "interrupted",
    )


def _seconds_between(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    return max(0.0, (parse_time(end) - parse_time(start)).total_seconds())
