"""A field for a whole number that [ and ] step down and up."""

from __future__ import annotations

from textual import events
from textual.widgets import Input


class StepInput(Input):
    """Digits, or one fewer and one more with the keys of the main screen."""

    def __init__(self, value: int | str, *, id: str, minimum: int) -> None:  # noqa: A002
        super().__init__(str(value), id=id, compact=True, restrict=r"[0-9]*", select_on_focus=False)
        self._minimum = minimum

    @property
    def number(self) -> int:
        """The number typed; nothing typed is the smallest."""
        return int(self.value) if self.value else self._minimum

    def step(self, by: int) -> None:
        """Add to the number, never going below the smallest."""
        self.value = str(max(self._minimum, self.number + by))

    def on_key(self, event: events.Key) -> None:
        by = {"[": -1, "]": 1}.get(event.character or "")
        if by is not None:
            event.stop()
            event.prevent_default()
            self.step(by)
