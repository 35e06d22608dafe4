"""Text on the screen that changes now and then."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static


class LiveText(Static):
    """Text that is laid out and drawn again only when it says something else."""

    def __init__(self, text: Text | None = None, *, id: str) -> None:  # noqa: A002
        super().__init__(text or "", id=id)
        self.said = text or Text()

    def say(self, text: Text) -> None:
        """Show a text in place of the one that is shown."""
        if text != self.said:
            self.said = text
            self.update(text)
