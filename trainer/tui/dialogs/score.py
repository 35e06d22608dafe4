"""A text of somebody's own, for the shown run's model to score."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, TextArea

from trainer.tui.dialogs.dialog import Dialog, button


class ScoreDialog(Dialog):
    """Takes a text, typed or pasted; what the model makes of it is shown in the playground."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "score", "Score", show=False, priority=True)
    ]

    heading = "Score a text"

    class Submitted(Message):
        """This text is to be scored."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def compose_body(self) -> Iterable[Widget]:
        hint = "Paste or type a text: each of its tokens is shown with how much it surprises."
        yield TextArea(id="score-text", compact=True, placeholder=hint)

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Score  Ctrl+S", "score", primary=True)
        yield from super().compose_buttons()

    @on(Button.Pressed, "#score")
    def action_score(self) -> None:
        """Hand over the text and close, unless there is none."""
        text = self.query_one("#score-text", TextArea).text
        if not text.strip():
            self.show_problem("There is no text yet.")
            return
        self.app.post_message(self.Submitted(text))
        self.dismiss()
