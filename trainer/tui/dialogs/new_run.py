"""Starting a run: a form made from the configuration's schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from textual import events, on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Button, Input, Label, Select, Static, TextArea

from trainer.config import Config
from trainer.errors import ConfigurationError, TrainerError
from trainer.runs import RunStore
from trainer.tui import wording
from trainer.tui.dialogs.dialog import Dialog, button
from trainer.tui.dialogs.setting_field import SettingField
from trainer.tui.dialogs.step_input import StepInput
from trainer.tui.dialogs.turn_field import TurnField
from trainer.tui.draft import (
    BASIC_SETTINGS,
    Base,
    check,
    command_line,
    parse_tags,
    problems,
)
from trainer.tui.operations import Outcome


class NewRunDialog(Dialog):
    """Basic settings as fields, all others as lines; checked at every keystroke."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "Start", show=False, priority=True)
    ]

    heading = "New run"

    def __init__(self, store: RunStore, bases: Sequence[Base], chosen: Mapping[str, str]) -> None:
        """Make the form.

        Args:
            bases: what the values that are not typed come from; the first is shown.
            chosen: texts of fields, by key, that were chosen before the form was opened.
        """
        super().__init__()
        self._store = store
        self._bases = {base.name: base for base in bases}
        self._base = bases[0]
        self._chosen = dict(chosen)
        self._untouched: tuple[str, ...] = ()
        self._warned = False

    def compose_body(self) -> Iterable[Widget]:
        options = [(base.label, name) for name, base in self._bases.items()]
        with VerticalScroll(id="form"):
            with Horizontal(classes="field"):
                yield Label("based on")
                yield Select(
                    options, value=self._base.name, id="base", allow_blank=False, compact=True
                )
            yield from self._annotation_fields()
            for setting in BASIC_SETTINGS:
                text = self._chosen.get(setting.key, self._base.text(setting))
                yield SettingField(setting, text)
            with Horizontal(classes="field"):
                yield Label("more settings")
                yield TextArea(id="more", compact=True, placeholder="section.key = value")
            yield TurnField()
        yield Static(id="explanation", markup=False)
        yield Static(id="summary", markup=False)

    def _annotation_fields(self) -> Iterable[Widget]:
        for name, hint in (("name", "optional"), ("tags", "optional, parted by commas")):
            with Horizontal(classes="field"):
                yield Label(name)
                yield Input(id=f"run-{name}", placeholder=hint, compact=True)

    def compose_buttons(self) -> Iterable[Widget]:
        yield button("Start  Ctrl+S", "start", primary=True)
        yield from super().compose_buttons()

    def on_mount(self) -> None:
        self.query_one("#run-name").focus()
        self._untouched = self._texts()
        self.check()

    # ------------------------------------------------------------------ while typing

    @on(Select.Changed, "#base")
    def change_base(self, event: Select.Changed) -> None:
        """Take over the values of another base, except where something else was typed."""
        before, self._base = self._base, self._bases[str(event.value)]
        for field in self.query(SettingField):
            if field.text.strip() == before.text(field.setting):
                field.text = self._base.text(field.setting)
        self.check()

    @on(SettingField.Edited)
    @on(TextArea.Changed)
    @on(Input.Changed)
    def check(self) -> Config | None:
        """Show at once what is wrong, or how large the model will be."""
        self._warned = False
        checked = check(self._base, self._typed(), self.query_one("#more", TextArea).text)
        if isinstance(checked, Config):
            self._show_problems({})
            self.query_one("#summary", Static).update(wording.model_words(checked))
            return checked
        self._show_problems(checked)
        self.query_one("#summary", Static).update("")
        return None

    def _typed(self) -> dict[str, str]:
        return {field.setting.key: field.text for field in self.query(SettingField)}

    def _texts(self) -> tuple[str, ...]:
        """Return everything that can be typed."""
        notes = (self.query_one(f"#run-{name}", Input).value for name in ("name", "tags"))
        return (*notes, *self._typed().values(), self.query_one("#more", TextArea).text)

    def _show_problems(self, found: Mapping[str, str]) -> None:
        for field in self.query(SettingField):
            field.show_problem(found.get(field.setting.key, ""))
        self.show_problem(found.get("", ""))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Explain the setting that has the focus."""
        field = next(
            (node for node in event.widget.ancestors if isinstance(node, SettingField)), None
        )
        words = field.setting.help if field else ""
        if event.widget.id == "more":
            words = "Any other setting, one a line, such as model.dropout = 0.1"
        self.query_one("#explanation", Static).update(words)

    def on_key(self, event: events.Key) -> None:
        """Step the epochs from anywhere that is no text field."""
        by = {"[": -1, "]": 1}.get(event.character or "")
        if by is not None:
            event.stop()
            self.query_one(StepInput).step(by)

    def action_cancel(self) -> None:
        """Close, but ask once before what was typed is lost."""
        lossless = self._texts() == self._untouched or self.has_class("-working")
        if lossless or self._warned:
            self.dismiss()
            return
        self._warned = True
        self.show_problem("Esc again throws away what you typed.", "yellow")

    # ------------------------------------------------------------------ starting

    @on(Button.Pressed, "#start")
    def action_start(self) -> None:
        """Start the run, if nothing is wrong."""
        config = self.check()
        if config is None:
            return
        name = self.query_one("#run-name", Input).value.strip() or None
        tags = parse_tags(self.query_one("#run-tags", Input).value)
        operation = partial(
            start_run,
            self._store,
            config,
            name,
            tags,
            now_anyway=self.query_one(TurnField).now_anyway,
        )
        self.perform(operation, "Starting …")

    def tell(self, error: TrainerError) -> None:
        """Mark a refusal at its field where it has one."""
        if isinstance(error, ConfigurationError):
            self._show_problems(problems(error))
        else:
            super().tell(error)


def start_run(
    store: RunStore, config: Config, name: str | None, tags: list[str], *, now_anyway: bool = False
) -> Outcome:
    """Start a run.

    Raises:
        TrainerError: the text cannot be trained on, or the device is not here.
    """
    command = command_line(config, name, tags)
    if now_anyway:
        command.append("--now-anyway")
    run_id = store.create(config, name=name, tags=tags, command=command, now_anyway=now_anyway)
    run = store.get(run_id)
    return Outcome(wording.start_words(run, f"{run.title} is started."), run_id)
