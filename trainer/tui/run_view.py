"""All panes of the shown run."""

from __future__ import annotations

from datetime import datetime

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Tabs

from trainer.inference.client import ModelClient
from trainer.runs import Run, RunStore
from trainer.tui.details_pane import DetailsPane
from trainer.tui.figures_pane import FiguresPane
from trainer.tui.log_pane import LogPane
from trainer.tui.loss_pane import LossPane
from trainer.tui.machine import MachineReading
from trainer.tui.pane_tabs import PANES, PaneTabs
from trainer.tui.playground_pane import PlaygroundPane
from trainer.tui.readings_pane import ReadingsPane
from trainer.tui.run_header import RunHeader
from trainer.tui.samples_pane import SamplesPane
from trainer.tui.watching import Glimpse


class RunView(Vertical):
    """Header, figures and readings on top; below, the pane in front, and a side column if wide."""

    def __init__(self, store: RunStore, model: ModelClient) -> None:
        super().__init__(id="run", classes="-loss")
        self._store, self._model = store, model

    def compose(self) -> ComposeResult:
        yield RunHeader()
        yield FiguresPane(id="figures-line", listed=False)
        yield ReadingsPane(id="readings-line", listed=False)
        yield PaneTabs()
        with Horizontal(id="body"):
            with Vertical(id="panes"):
                yield LossPane()
                yield LogPane()
                yield SamplesPane()
                yield PlaygroundPane(self._store, self._model)
                yield DetailsPane()
            with VerticalScroll(id="side", can_focus=False):
                yield ReadingsPane(id="readings-list", listed=True)
                yield FiguresPane(id="figures-list", listed=True)

    def show_run(self, run: Run) -> None:
        """Show what the run's state says."""
        self.query_one(RunHeader).show(run)
        for figures in self.query(FiguresPane):
            figures.show(run.state)

    def show_glimpse(self, glimpse: Glimpse, machine: MachineReading | None, at: datetime) -> None:
        """Show everything that was read of the run."""
        self.show_run(glimpse.run)
        reading = glimpse.reading if glimpse.run.active else None
        for readings in self.query(ReadingsPane):
            readings.show(machine, reading)
        self.query_one(LossPane).show(glimpse)
        self.query_one(LogPane).show(glimpse.log)
        self.query_one(SamplesPane).show(glimpse.samples)
        self.query_one(DetailsPane).show(glimpse, at)

    @property
    def pane(self) -> str:
        """The name of the pane in front."""
        return self.query_one(PaneTabs).pane

    def show_pane(self, name: str) -> None:
        """Bring a pane to the front."""
        self.query_one(PaneTabs).pane = name

    @on(Tabs.TabActivated)
    def bring_to_front(self, event: Tabs.TabActivated) -> None:
        """Let the style sheet show the pane of the active tab."""
        event.stop()
        for pane in PANES:
            self.set_class(pane == self.pane, f"-{pane}")
