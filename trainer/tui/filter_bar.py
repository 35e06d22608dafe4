"""The field that filters the runs as it is typed."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label


class FilterBar(Horizontal):
    """Hidden until asked for; Enter keeps the filter, Esc clears it."""

    class Changed(Message):
        """The filter says something else now."""

        def __init__(self, query: str) -> None:
            super().__init__()
            self.query = query

    class Closed(Message):
        """The filter was accepted or cleared."""

    def __init__(self) -> None:
        super().__init__(id="filter-bar", classes="field")

    def compose(self) -> ComposeResult:
        yield Label("filter")
        yield Input(
            id="filter", compact=True, placeholder="words, status:failed, tag:x, loss<3, created<2d"
        )

    def on_mount(self) -> None:
        self.display = False

    def open(self) -> None:
        """Show the field and put the cursor into it."""
        self.display = True
        self.query_one(Input).focus()

    def close(self) -> bool:
        """Clear and hide the field; return False when it was not there."""
        if not self.display:
            return False
        self.query_one(Input).value = ""
        self.display = False
        self.post_message(self.Closed())
        return True

    @on(Input.Changed)
    def tell_changed(self, event: Input.Changed) -> None:
        """Pass on the words at every keystroke."""
        event.stop()
        self.post_message(self.Changed(event.value.strip()))

    @on(Input.Submitted)
    def accept(self, event: Input.Submitted) -> None:
        """Keep the filter, or hide the empty field."""
        event.stop()
        if not event.value.strip():
            self.display = False
        self.post_message(self.Closed())
