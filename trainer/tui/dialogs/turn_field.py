"""Whether a run waits for its turn on a busy device."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Label, Select

_CHOICES = [("wait for its turn", False), ("start now anyway", True)]


class TurnField(Horizontal):
    """A field of a form that launches a run."""

    def __init__(self) -> None:
        super().__init__(classes="field")

    def compose(self) -> ComposeResult:
        yield Label("if it is busy")
        yield Select(_CHOICES, value=False, id="now-anyway", allow_blank=False, compact=True)

    @property
    def now_anyway(self) -> bool:
        """Whether the run is to start at once, whoever has its device."""
        return self.query_one("#now-anyway", Select).value is True
