"""The help, made from the table of keys."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.keys import ALWAYS, KEYS

NUMBERS = (
    ("train, val", "mean negative log-likelihood in nats a token; lower is better"),
    ("ppl", "perplexity: how many words the model wavers between, over the validation text"),
    ("speed", "training tokens worked through in a second"),
)
"""What the figures mean."""


class HelpDialog(Dialog):
    """Keys and numbers explained."""

    heading = "Help"

    def compose_body(self) -> Iterable[Widget]:
        with VerticalScroll(id="help"):
            yield Static(help_text())

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Close  Esc", "cancel", primary=True)


def help_text() -> Text:
    """Write all keys by section, then what the numbers mean."""
    sections = [
        _section(title, [(key.shown_as, key.explanation) for key in keys])
        for title, keys in groupby(KEYS, lambda key: key.section)
    ]
    sections.append(_section("Everywhere", ALWAYS))
    sections.append(_section("Numbers", NUMBERS))
    return Text("\n\n").join(sections)


def _section(title: str, pairs: Iterable[tuple[str, str]]) -> Text:
    lines = [Text.assemble((name.ljust(12), "bold"), words) for name, words in pairs]
    return Text("\n").join([Text(title, "bold cyan"), *lines])
