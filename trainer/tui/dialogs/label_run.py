"""What a person calls a run: its name and tags."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual import on
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Button, Input, Label

from trainer.runs import Run, RunStore
from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.draft import parse_tags
from trainer.tui.operations import Outcome


class LabelDialog(Dialog):
    """Edits name and tags."""

    heading = "Name and tags"

    def __init__(self, store: RunStore, run: Run) -> None:
        super().__init__()
        self._store, self._target = store, run

    def compose_body(self) -> Iterable[Widget]:
        notes = self._target.annotations
        with Horizontal(classes="field"):
            yield Label("tags")
            yield Input(
                ", ".join(notes.tags), id="tags", placeholder="baseline, lr-sweep", compact=True
            )
        with Horizontal(classes="field"):
            yield Label("name")
            yield Input(notes.name or "", id="name", placeholder=self._target.run_id, compact=True)

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Save  Enter", "save", primary=True)
        yield from super().compose_buttons()

    @on(Input.Submitted)
    @on(Button.Pressed, "#save")
    def save(self) -> None:
        """Give the run what was typed."""
        name = self.query_one("#name", Input).value.strip()
        tags = parse_tags(self.query_one("#tags", Input).value)
        self.perform(partial(label_run, self._store, self._target, name, tags), "Saving …")


def label_run(store: RunStore, target: Run, name: str, tags: list[str]) -> Outcome:
    """Give a run a name (or none) and exactly these tags.

    Raises:
        UsageError: a name or tag is too long or cannot be printed.
    """
    run = store.annotate(target.run_id, name=name, tags=tags)
    tagged = f"tagged {', '.join(tags)}" if tags else "without tags"
    return Outcome(f"{run.title} is {tagged}.", run.run_id)
