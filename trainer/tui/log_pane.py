"""The end of the training log, followed."""

from __future__ import annotations

import re

from rich.text import Text
from textual import events
from textual.widgets import RichLog

from trainer.tui.watching import appended

MOST_LINES = 2000
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\S*Z (\w+) (.*)", re.DOTALL)
_LEVEL_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red"}


class LogPane(RichLog):
    """Log lines as they come; scrolled up, it stays where it is read."""

    def __init__(self) -> None:
        super().__init__(id="log", classes="pane", wrap=True, max_lines=MOST_LINES, min_width=20)
        self.border_title = "Log"
        self._lines: list[str] = []
        self._width = 0

    def show(self, lines: tuple[str, ...]) -> None:
        """Show these lines: what is new is appended, and only another log starts over."""
        new, forget = appended(self._lines, lines)
        self._lines = list(lines)
        if forget:
            self.clear()
        self._append(new)

    def on_resize(self, event: events.Resize) -> None:
        """Wrap the lines anew for another width."""
        if event.size.width != self._width:
            self._width = event.size.width
            self.clear()
            self._append(self._lines)

    def _append(self, lines: list[str]) -> None:
        if not self._width:
            return
        follow = self.is_vertical_scroll_end
        for line in lines:
            self.write(log_line(line), scroll_end=follow)


def log_line(line: str) -> Text:
    """Shorten a line's time stamp and name its level only where it is not the usual one."""
    stamped = _STAMPED.fullmatch(line)
    if stamped is None:
        return Text(line)
    time, level, message = stamped.groups()
    style = _LEVEL_STYLES.get(level, "")
    words = f"{level} {message}" if style else message
    return Text.assemble((f"{time} ", "dim"), (words, style))
