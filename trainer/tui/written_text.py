"""A written or scored text on the screen, with a cursor that goes from token to token."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.message import Message

from trainer import formats
from trainer.tui.live_text import LiveText
from trainer.tui.paper import Mark, Paper, Token


class WrittenText(VerticalScroll):
    """Draws a paper; while it has the focus, the arrow keys choose a token."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "choose(-1)", "Token before", show=False),
        Binding("right", "choose(1)", "Next token", show=False),
        Binding("home", "choose_end(0)", "First token", show=False),
        Binding("end", "choose_end(-1)", "Last token", show=False),
    ]

    class TokenChosen(Message):
        """The cursor is on another token, or on none."""

        def __init__(self, token: Token | None) -> None:
            super().__init__()
            self.token = token

    def __init__(self) -> None:
        super().__init__(id="written-scroll")
        self.tinted = False
        self._paper = Paper()
        self._marks: list[Mark] = []
        self._chosen: int | None = None

    def compose(self) -> ComposeResult:
        yield LiveText(id="written")

    def show(self, paper: Paper) -> None:
        """Draw a paper as it is now; its end stays in view unless a token is looked at."""
        self._paper, self._marks = paper, paper.marks()
        self.border_title = Text(f" {paper.model} ")
        self.set_class(bool(paper.model), "-named")
        if self._chosen is not None and self._chosen >= len(self._marks):
            self._choose(None)
        self._draw()
        if self._chosen is None:
            self.scroll_end(animate=False)

    def look_at_tokens(self) -> None:
        """Take the focus, at once, for the next key may move the cursor, and choose a token."""
        self.screen.set_focus(self)
        if self._chosen is None and self._marks:
            self._choose(len(self._marks) - 1)

    def toggle_tint(self) -> None:
        """Tint the tokens by their surprise, or no more."""
        self.tinted = not self.tinted
        self._draw()

    def on_blur(self) -> None:
        self._choose(None)

    def action_choose(self, by: int) -> None:
        """Move the cursor by so many tokens."""
        if self._marks:
            place = len(self._marks) - 1 if self._chosen is None else self._chosen + by
            self._choose(min(max(place, 0), len(self._marks) - 1))

    def action_choose_end(self, place: int) -> None:
        """Move the cursor to the first token (0) or the last (-1)."""
        if self._marks:
            self._choose(range(len(self._marks))[place])

    def _choose(self, place: int | None) -> None:
        self._chosen = place
        mark = self._mark
        self._draw()
        if mark is not None:
            self.scroll_to_region(Region(0, self._line_of(mark), 1, 1), animate=False)
        self.post_message(self.TokenChosen(mark.token if mark else None))

    @property
    def _mark(self) -> Mark | None:
        return None if self._chosen is None else self._marks[self._chosen]

    def _draw(self) -> None:
        drawn = self._paper.drawn(self._marks, tinted=self.tinted, chosen=self._mark)
        self.query_one("#written", LiveText).say(drawn)

    def _line_of(self, mark: Mark) -> int:
        """Return the line of the screen, from 0, on which a token ends."""
        written = self.query_one("#written", LiveText)
        before = Content(formats.harmless(self._paper.text[: mark.end]))
        return before.get_height({}, written.content_size.width) - 1
