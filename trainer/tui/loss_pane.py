"""The loss curves, live, with their legend."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from trainer import formats
from trainer.tui.curves import NO_CURVES, Curves
from trainer.tui.live_text import LiveText
from trainer.tui.loss_chart import LossChart
from trainer.tui.watching import Glimpse


class LossPane(Vertical):
    """The legend above the chart."""

    def __init__(self) -> None:
        super().__init__(id="loss", classes="pane")

    def compose(self) -> ComposeResult:
        yield LiveText(id="loss-legend")
        yield LossChart()

    def show(self, glimpse: Glimpse) -> None:
        """Show a run's curves, over those of the run that it is compared with."""
        other = glimpse.reference
        self.query_one("#loss-legend", LiveText).say(legend(glimpse.curves, other))
        reference = other.curves if other else NO_CURVES
        self.query_one(LossChart).show(glimpse.curves, reference, glimpse.trouble)


def legend(curves: Curves, reference: Glimpse | None = None) -> Text:
    """Name the curves with their newest values."""
    line = Text(" ", no_wrap=True, overflow="ellipsis")
    line.append("Loss in nats a token by step   ", "dim")
    line.append("⠤⠤", "cyan").append(f" train {formats.loss(curves.train.last_value)}   ")
    line.append("●", "yellow").append(f" val {formats.loss(curves.validation.last_value)}")
    if reference is not None:
        value = formats.loss(reference.curves.validation.last_value)
        line.append("   ○", "bright_black").append(f" {reference.run.title} val {value}")
    return line
