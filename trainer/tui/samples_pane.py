"""Watch it learn: what the model makes of the fixed prompts at each evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from trainer.formats import harmless
from trainer.tui.live_text import LiveText

NOTHING_YET = "No samples yet: the model writes some at every evaluation."


class SamplesPane(VerticalScroll):
    """Samples, the newest evaluation first."""

    def __init__(self) -> None:
        super().__init__(id="samples", classes="pane")

    def compose(self) -> ComposeResult:
        yield LiveText(id="samples-text")

    def show(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """Show these samples."""
        text = sample_text(samples) if samples else Text(NOTHING_YET, "dim")
        self.query_one("#samples-text", LiveText).say(text)


def sample_text(samples: Sequence[Mapping[str, Any]]) -> Text:
    """Write samples by step, newest step first; the prompt stands out from what was written."""
    by_step = [(step, list(group)) for step, group in groupby(samples, lambda s: s["step"])]
    blocks = [_block(step, group) for step, group in reversed(by_step)]
    return Text("\n\n").join(blocks)


def _block(step: int, samples: Sequence[Mapping[str, Any]]) -> Text:
    lines = [Text(f"After step {step:,}", "bold cyan")]
    lines += [
        Text.assemble((harmless(sample["prompt"]), "bold"), harmless(sample["text"]))
        for sample in samples
    ]
    return Text("\n").join(lines)
