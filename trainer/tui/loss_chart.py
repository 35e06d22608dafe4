"""The loss curves, drawn with characters."""

from __future__ import annotations

from rich.text import Text
from textual.app import RenderResult
from textual_plotext import PlotextPlot

from trainer.tui.curves import NO_CURVES, Curve, Curves, thinned, tick_labels, ticks

TRAIN_COLOUR = 6
VALIDATION_COLOUR = 3
REFERENCE_COLOUR = 8
"""Numbers of the terminal's own palette: cyan, yellow and grey."""

NOTHING_YET = "No training step is done, so there is no loss to draw."
_CELLS_A_TICK = 14
_ROWS_A_TICK = 3
_CELLS_A_MARK = 8


class LossChart(PlotextPlot):
    """Training losses as lines of braille dots, validation losses as marked points.

    The marks tell the curves apart without colour.
    """

    def __init__(self) -> None:
        super().__init__(id="loss-chart")
        self.set_reactive(PlotextPlot.theme, "textual-clear")
        self._curves, self._reference = NO_CURVES, NO_CURVES
        self._trouble = ""

    def show(self, curves: Curves, reference: Curves, trouble: str) -> None:
        """Draw curves over those of another run, or say why there are none, if that is new."""
        if (curves, reference, trouble) != (self._curves, self._reference, self._trouble):
            self._curves, self._reference, self._trouble = curves, reference, trouble
            self.refresh()

    def render(self) -> RenderResult:
        if self._curves.empty and self._reference.empty:
            return Text(f" {self._trouble or NOTHING_YET}", "dim")
        self.plt.clear_figure()
        # What is drawn later hides what is below.
        self._draw_curves(self._reference, REFERENCE_COLOUR, REFERENCE_COLOUR, "○")
        self._draw_curves(self._curves, TRAIN_COLOUR, VALIDATION_COLOUR, "●")
        self._lay_axes()
        return super().render()

    def _draw_curves(
        self, curves: Curves, train_colour: int, validation_colour: int, mark: str
    ) -> None:
        """Draw the thin line between the marks, over it the training loss, and then the marks."""
        validation = curves.validation
        self._draw_line(validation, validation_colour)
        self._draw_line(curves.train, train_colour)
        marks = thinned(validation, self.size.width // _CELLS_A_MARK)
        if marks.steps:
            self.plt.scatter(marks.steps, marks.values, marker=mark, color=validation_colour)

    def _draw_line(self, curve: Curve, colour: int) -> None:
        if curve.steps:
            self.plt.plot(curve.steps, curve.values, marker="braille", color=colour)

    def _lay_axes(self) -> None:
        self.plt.frame(False)
        self.plt.xaxes(True, False)
        self.plt.yaxes(True, False)
        drawn = [
            c for both in (self._curves, self._reference) for c in (both.train, both.validation)
        ]
        steps = [step for curve in drawn for step in curve.steps]
        losses = [loss for curve in drawn for loss in curve.values]
        across = ticks(min(steps), max(steps), max(2, self.size.width // _CELLS_A_TICK))
        up = ticks(min(losses), max(losses), max(3, self.size.height // _ROWS_A_TICK))
        self.plt.xticks(across, tick_labels(across))
        self.plt.yticks(up, tick_labels(up))
