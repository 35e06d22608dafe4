"""Deleting a run, which can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from textual import on
from textual.widget import Widget
from textual.widgets import Button, Label

from trainer.runs import Run, RunStore
from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.operations import Outcome


class DeleteDialog(Dialog):
    """Asks before a run is put aside."""

    heading = "Delete run"

    def __init__(self, store: RunStore, run: Run, expect: Callable[[str], None]) -> None:
        """Make the dialog; ``expect`` is told the run id just before the run vanishes."""
        super().__init__()
        self._store, self._target, self._expect = store, run, expect

    def compose_body(self) -> Iterable[Widget]:
        yield Label(f"{self._target.title} and its checkpoints are put aside.", markup=False)
        yield Label("Press z afterwards to bring them back.")

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Delete  Enter", "delete", primary=True)
        yield button("Keep  Esc", "cancel")

    @on(Button.Pressed, "#delete")
    def delete(self) -> None:
        """Put the run aside."""
        self._expect(self._target.run_id)
        self.perform(partial(delete_run, self._store, self._target), "Deleting …")


def delete_run(store: RunStore, target: Run) -> Outcome:
    """Put a run aside.

    Raises:
        ConflictError: it is active.
        NotFoundError: it is gone already.
    """
    store.delete(target.run_id)
    return Outcome(f"{target.title} is deleted. Press z to undo.", target.run_id, deleted=True)


def restore_run(store: RunStore, run_id: str) -> Outcome:
    """Bring a deleted run back.

    Raises:
        NotFoundError: it is no longer there to bring back.
    """
    run = store.restore(run_id)
    return Outcome(f"{run.title if run else run_id} is back.", run_id)
