"""Stopping a run: in good order, or at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Button, Label

from trainer.runs import Run, RunStore, urgent_words
from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.operations import Outcome


class StopDialog(Dialog):
    """Asks how to stop."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("k", "kill", "Kill now", show=False)]

    heading = "Stop run"

    def __init__(self, store: RunStore, run: Run, expect: Callable[[str], None]) -> None:
        """Make the dialog; ``expect`` is told the run id just before the run is killed."""
        super().__init__()
        self._store, self._target, self._expect = store, run, expect

    def compose_body(self) -> Iterable[Widget]:
        yield Label(f"{self._target.title} will save a checkpoint and end.", markup=False)
        yield Label("Killed, it ends at once and loses what came after its last checkpoint.")

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Save and stop  Enter", "save", primary=True)
        yield button("Kill now  K", "kill")
        yield button("Keep training  Esc", "cancel")

    @on(Button.Pressed, "#save")
    def save_and_stop(self) -> None:
        """Ask the run to save and end."""
        self.perform(partial(stop_run, self._store, self._target), "Asking it to stop …")

    @on(Button.Pressed, "#kill")
    def action_kill(self) -> None:
        """End the run's process."""
        self._expect(self._target.run_id)
        self.perform(partial(stop_run, self._store, self._target, kill=True), "Ending it …")


def stop_run(store: RunStore, target: Run, *, kill: bool = False) -> Outcome:
    """Stop a run and say what it does now.

    Raises:
        ConflictError: it has ended already, or only just begins.
    """
    run = store.stop(target.run_id, kill=kill)
    if run.active:
        told = "; ".join(["it saves a checkpoint first", *urgent_words(run)])
        return Outcome(f"{run.title} is asked to stop: {told}.", run.run_id)
    word = "killed" if kill else "stopped"
    advice = " Press u to resume it." if store.checkpoints(run.run_id) else ""
    return Outcome(f"{run.title} was {word}.{advice}", run.run_id)
