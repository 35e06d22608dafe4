"""The present figures of the shown run: one line, or a list where there is room."""

from __future__ import annotations

from rich.text import Text

from trainer import formats
from trainer.store.records import State
from trainer.tui import wording
from trainer.tui.live_text import LiveText

NAME_CELLS = 16


class FiguresPane(LiveText):
    """Figures on one line in a low pane, and with further facts in a high one."""

    def __init__(self, *, id: str, listed: bool) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._listed = listed

    def show(self, state: State) -> None:
        """Show the figures of a run."""
        self.say(listed(state) if self._listed else one_line(state))


def one_line(state: State) -> Text:
    """Write ``epoch 2/3  step 420/1,000  train 3.2140  …``."""
    parts = [Text.assemble((f"{name} ", "dim"), value) for name, value in wording.figures(state)]
    if state.tokens_per_second is not None:
        parts[-1] = Text(formats.speed(state.tokens_per_second))  # It has its unit.
    line = Text(" ", no_wrap=True, overflow="ellipsis")
    return line.append_text(Text("  ").join(parts))


def listed(state: State) -> Text:
    """Write one figure or fact on each line."""
    pairs = [*wording.figures(state), *wording.facts(state)]
    return pair_lines(pairs)


def pair_lines(pairs: list[tuple[str, str]]) -> Text:
    """Line up names and values."""
    lines = [Text.assemble((name.ljust(NAME_CELLS), "dim"), value) for name, value in pairs]
    return Text("\n").join(lines)
