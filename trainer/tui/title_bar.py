"""The first line: what this is, where, and how many runs there are."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from textual import events

from trainer.tui.live_text import LiveText

SHORTEST_FOLDER = 8


class TitleBar(LiveText):
    """Program and folder on the left, counts or trouble on the right."""

    def __init__(self, home: Path) -> None:
        super().__init__(id="title")
        self._home = home
        self._news = Text("reading runs …", "dim")

    def show(self, words: str, style: str = "") -> None:
        """Show counts, or what is wrong with the store."""
        self._news = Text(words, style)
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        self.say(title_line(short_path(self._home), self._news, self.size.width))


def title_line(home: str, news: Text, width: int) -> Text:
    """Write the line, shortening the folder first and leaving it out where there is no room."""
    line = Text(" llm-trainer", "bold")
    room = width - line.cell_len - news.cell_len - 5
    if room >= SHORTEST_FOLDER:
        folder = Text(f"  {home}", "not bold dim")
        folder.truncate(room + 2, overflow="ellipsis")
        line.append_text(folder)
    gap = max(2, width - line.cell_len - news.cell_len - 1)
    return Text.assemble(line, " " * gap, news, no_wrap=True, overflow="ellipsis")


def short_path(path: Path) -> str:
    """Write a path with ``~`` for the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}".removesuffix("/.")
    except ValueError:
        return str(path)
