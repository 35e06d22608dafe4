"""What all dialogs share: a titled box, a place for what went wrong, a row of buttons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Static

from trainer.errors import TrainerError
from trainer.tui.operations import (
    Operation,
    OperationCompleted,
    OperationFailed,
    OperationRequested,
)


class Dialog(ModalScreen[None]):
    """A box over the main screen. It stays, with all that was typed, until its change is made."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", "Cancel", show=False)]

    heading = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self.heading
            yield from self.compose_body()
            yield Static(classes="problem")
            with Horizontal(classes="buttons"):
                yield from self.compose_buttons()

    def compose_body(self) -> Iterable[Widget]:
        """Yield what stands between title and buttons."""
        yield from ()

    def compose_buttons(self) -> Iterable[Widget]:
        """Yield the buttons; every dialog can be cancelled."""
        yield button("Cancel  Esc", "cancel")

    def show_problem(self, words: str, style: str = "red") -> None:
        """Say what is wrong, or with no words that nothing is."""
        problem = self.query_one(".problem", Static)
        problem.update(Text.assemble((words, style)))
        problem.display = bool(words)

    def perform(self, operation: Operation, meanwhile: str) -> None:
        """Make a change in the background; the dialog closes when it is made."""
        if not self.has_class("-working"):
            self.add_class("-working")
            self.show_problem(meanwhile, "italic")
            self.post_message(OperationRequested(operation))

    @on(OperationCompleted)
    def close_when_made(self, event: OperationCompleted) -> None:
        """Close: the change is made."""
        event.stop()
        self.remove_class("-working")
        self.dismiss()

    @on(OperationFailed)
    def show_refusal(self, event: OperationFailed) -> None:
        """Stay open and say why the change was refused."""
        event.stop()
        self.remove_class("-working")
        self.tell(event.error)

    def tell(self, error: TrainerError) -> None:
        """Show why a change was refused."""
        self.show_problem(str(error))

    @on(Button.Pressed, "#cancel")
    def cancel_by_button(self) -> None:
        """Do what Esc does."""
        self.action_cancel()

    def action_cancel(self) -> None:
        """Close; a change under way goes on and is confirmed on the main screen."""
        self.dismiss()


def button(label: str, id: str, *, primary: bool = False) -> Button:  # noqa: A002
    """Make a button of the height of a line."""
    return Button(label, id=id, compact=True, variant="primary" if primary else "default")
