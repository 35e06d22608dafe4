"""One setting of the new-run form."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Label, Select, Static

from trainer.config import Setting
from trainer.tui.dialogs.step_input import StepInput


class SettingField(Vertical):
    """A label, a control that fits the setting, and what is wrong with what was typed."""

    class Edited(Message):
        """The value in a field has changed."""

    def __init__(self, setting: Setting, text: str) -> None:
        super().__init__(classes="setting")
        self.setting = setting
        self._initial = text

    def compose(self) -> ComposeResult:
        with Horizontal(classes="field"):
            yield Label(self.setting.key)
            yield self._control()
        yield Static(classes="field-problem")

    def _control(self) -> Input | Select[str]:
        name = f"setting-{self.setting.name}"
        if self.setting.choices:
            options = [(choice, choice) for choice in self.setting.choices]
            return Select(options, value=self._initial, id=name, allow_blank=False, compact=True)
        if self.setting.name == "epochs":
            return StepInput(self._initial, id=name, minimum=1)
        hint = "empty: none" if self.setting.nullable else ""
        return Input(self._initial, id=name, placeholder=hint, compact=True, select_on_focus=False)

    @property
    def text(self) -> str:
        """What stands in the control."""
        control = self.query_one(f"#setting-{self.setting.name}")
        assert isinstance(control, Input | Select)
        return str(control.value)

    @text.setter
    def text(self, text: str) -> None:
        control = self.query_one(f"#setting-{self.setting.name}")
        assert isinstance(control, Input | Select)
        control.value = text

    def show_problem(self, words: str) -> None:
        """Say at the field what is wrong with it, or with no words that nothing is."""
        problem = self.query_one(".field-problem", Static)
        problem.update(Text.assemble((words, "red")))
        self.set_class(bool(words), "-wrong")

    @on(Input.Changed)
    @on(Select.Changed)
    def tell_edited(self, event: Input.Changed | Select.Changed) -> None:
        event.stop()
        self.post_message(self.Edited())
