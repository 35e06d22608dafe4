"""What the fault tests have to reach, and how much of it was tried and held.

A test counts through the fixture ``tally``; ``make soak`` prints the table at its end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One fault: how often it has to be tried (None: wherever it can happen) and what must hold."""

    fault: str
    wanted: int | None
    must_hold: str


ROWS = {
    "kills": Row(
        "SIGKILL of the worker at a random moment, then resume",
        200,
        "run found, latest loadable, database whole, metrics exact, final state equal",
    ),
    "kills in a save": Row("... of these inside a save", 50, "the same"),
    "points": Row(
        "interruption at chosen points against the uninterrupted run",
        60,
        "every loss and the final hash bit-identical",
    ),
    "files": Row(
        "crash after every file operation of a save; truncation at every 4 KiB",
        None,
        "detected or recovered",
    ),
    "space": Row(
        "no space left at every write site",
        None,
        "no good checkpoint lost; shown in 2 s; goes on",
    ),
    "server": Row(
        "SIGKILL of the server while runs train",
        30,
        "no step lost, state right within 2 s of restart",
    ),
    "resumes": Row("two resumes racing", 200, "one winner each, loser told within 1 s"),
    "pids": Row("forced pid reuse", 1000, "no wrong signal"),
    "stops": Row("stop at a random moment", 50, "ends within one step + save + 2 s, no survivor"),
}


@dataclass
class Tally:
    """Tries and those that held, by row, with what tests noted beside the counts."""

    tries: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, row: str, tries: int, held: int, note: str = "") -> None:
        """Count tries of a fault.

        Raises:
            KeyError: there is no such row.
            AssertionError: not all of them held. They are counted all the same.
        """
        if row not in ROWS:
            raise KeyError(f"{row!r} is none of {', '.join(ROWS)}")
        self.tries[row] += tries
        self.held[row] += held
        if note:
            self.notes.setdefault(row, []).append(note)
        assert held == tries, f"{ROWS[row].fault}: {tries - held} of {tries} did not hold. {note}"

    def shortfalls(self) -> list[str]:
        """Name the rows that were tried too little, or where something was lost."""
        return [
            row.fault
            for key, row in ROWS.items()
            if self.tries[key] < (row.wanted or 1) or self.held[key] < self.tries[key]
        ]

    def table(self) -> list[str]:
        """Return the lines of a Markdown table: wanted, tried and held of every fault."""
        lines = ["| fault | wanted | tried | held | must hold |", "|---|---|---|---|---|"]
        for key, row in ROWS.items():
            wanted = "all" if row.wanted is None else f"{row.wanted:,}"
            counts = f"{self.tries[key]:,} | {self.held[key]:,}"
            lines.append(f"| {row.fault} | {wanted} | {counts} | {row.must_hold} |")
        return lines + [
            f"{ROWS[key].fault}: {note}" for key in self.notes for note in self.notes[key]
        ]
