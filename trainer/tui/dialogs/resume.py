"""Going on with a run that has ended."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual import on
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Select, Static

from trainer.resumption import chosen_checkpoint, source_words
from trainer.runs import Run, RunStore
from trainer.tui import wording
from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.dialogs.step_input import StepInput
from trainer.tui.dialogs.turn_field import TurnField
from trainer.tui.operations import Outcome
from trainer.tui.watching import Glimpse


class ResumeDialog(Dialog):
    """Asks from which checkpoint, and for how many more epochs."""

    heading = "Resume run"

    def __init__(self, store: RunStore, glimpse: Glimpse) -> None:
        super().__init__()
        self._store, self._target, self._max_steps = store, glimpse.run, glimpse.max_steps
        self._checkpoints = {checkpoint.name: checkpoint for checkpoint in glimpse.checkpoints}

    def compose_body(self) -> Iterable[Widget]:
        yield Label(f"{self._target.title}, {self._target.status}", markup=False)
        with Horizontal(classes="field"):
            yield Label("more epochs")
            # A complete run has nothing left to do without one.
            more_epochs = int(self._target.status == "completed")
            yield StepInput(more_epochs, id="more-epochs", minimum=0)
        with Horizontal(classes="field"):
            yield Label("from")
            yield Select(
                [(wording.checkpoint_words(c), name) for name, c in self._checkpoints.items()],
                id="from",
                allow_blank=False,
                compact=True,
            )
        yield TurnField()
        yield Static(id="consequence", markup=False)

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Resume  Enter", "resume", primary=True)
        yield from super().compose_buttons()

    @property
    def _source(self) -> str:
        return str(self.query_one("#from", Select).value)

    @property
    def _epochs(self) -> int:
        return self.query_one("#more-epochs", StepInput).number

    @on(Select.Changed)
    @on(Input.Changed)
    def tell_consequence(self) -> None:
        """Say what resuming with these choices will do."""
        words = wording.resume_words(
            self._target.state, self._checkpoints[self._source], self._epochs, self._max_steps
        )
        self.query_one("#consequence", Static).update(words)

    @on(Input.Submitted)
    @on(Button.Pressed, "#resume")
    def resume(self) -> None:
        """Give the run a new process."""
        operation = partial(
            resume_run,
            self._store,
            self._target,
            self._epochs,
            self._source,
            now_anyway=self.query_one(TurnField).now_anyway,
        )
        self.perform(operation, "Starting …")


def resume_run(
    store: RunStore, target: Run, more_epochs: int, source: str, *, now_anyway: bool = False
) -> Outcome:
    """Give a run a new process that goes on from a checkpoint.

    Raises:
        ConflictError: it is active, or complete and no epochs were added.
        NotFoundError: there is no such checkpoint.
    """
    words = source_words(source, chosen_checkpoint(target.paths, source), None)
    run = store.resume(target.run_id, more_epochs=more_epochs, source=source, now_anyway=now_anyway)
    noun = "epoch" if more_epochs == 1 else "epochs"
    added = f", {more_epochs:,} more {noun}" if more_epochs else ""
    started = f"{run.title} goes on from {words}{added}."
    return Outcome(wording.start_words(run, started), run.run_id)


def start_now(store: RunStore, target: Run) -> Outcome:
    """Let a queued run begin before its turn.

    Raises:
        ConflictError: it is not queued.
    """
    run = store.start_now(target.run_id)
    return Outcome(wording.start_words(run, f"{run.title} starts now."), run.run_id)
