"""How far a long step has come, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

from trainer.store.records import Progress

Report = Callable[[Progress], None]


class Meter:
    """Adds up what is done of one phase and reports it, never more than the whole."""

    def __init__(self, report: Report, phase: str, total: int, unit: str = "bytes") -> None:
        self._report = report
        self._phase = phase
        self._total = total
        self._unit = unit
        self.done = 0
        self.at(0)

    def add(self, amount: int) -> None:
        """Report that so much more is done."""
        self.at(self.done + amount)

    def at(self, done: int) -> None:
        """Report that so much is done in all."""
        self.done = done
        shown = min(done, self._total)
        self._report(Progress(phase=self._phase, done=shown, total=self._total, unit=self._unit))
