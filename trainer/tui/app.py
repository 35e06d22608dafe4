"""The terminal application: what changes runs, and what outlives a screen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from textual import on, work
from textual.app import App, SystemCommand
from textual.screen import Screen

from trainer.config import Config
from trainer.errors import ConflictError, NotFoundError, StoreError, TrainerError
from trainer.inference.client import ModelClient, ModelService
from trainer.runs import Run, RunStore
from trainer.tui import draft, wording
from trainer.tui.dialogs.delete import DeleteDialog, restore_run
from trainer.tui.dialogs.device import DeviceDialog
from trainer.tui.dialogs.dialog import Dialog
from trainer.tui.dialogs.help import HelpDialog
from trainer.tui.dialogs.label_run import LabelDialog
from trainer.tui.dialogs.new_run import NewRunDialog
from trainer.tui.dialogs.resume import ResumeDialog, start_now
from trainer.tui.dialogs.score import ScoreDialog
from trainer.tui.dialogs.stop import StopDialog
from trainer.tui.draft import Base
from trainer.tui.keys import KEYS
from trainer.tui.machine import MachineMeter
from trainer.tui.main_screen import MainScreen
from trainer.tui.operations import (
    Operation,
    OperationCompleted,
    OperationFailed,
    OperationRequested,
)
from trainer.tui.playground_pane import PlaygroundPane
from trainer.tui.run_table import WIDE
from trainer.tui.terminal import TERMINAL_THEME
from trainer.tui.writing_form import WritingForm

ERROR_SECONDS = 12.0
WIDTHS = [(0, "-narrow"), (WIDE, "-wide")]
HEIGHTS = [(0, "-low"), (32, "-high")]
"""Cells from which a screen has a class that the style sheet lays out by."""


def utc_now() -> datetime:
    """Return the time by which ages are told."""
    return datetime.now(UTC)


class TrainerApp(App[None]):
    """Owns the store and makes every change to it in a thread."""

    TITLE = "llm-trainer"
    CSS_PATH = Path(__file__).with_name("styles.tcss")
    NOTIFICATION_TIMEOUT = 6
    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    def __init__(
        self,
        store: RunStore,
        *,
        machine: MachineMeter | None = None,
        model: ModelClient | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        # Without colour every theme is drawn as the terminal's own.
        super().__init__(ansi_color="NO_COLOR" in os.environ or None)
        self.register_theme(TERMINAL_THEME)
        self.theme = TERMINAL_THEME.name
        self.animation_level = "none"
        self._store = store
        self._machine = machine or MachineMeter()
        self._model = model or ModelService(store.workspace.home)
        self.main = MainScreen(store, self._machine, self._model, clock)
        self._epochs: int | None = None
        self._device: str | None = None
        self._known_devices: dict[str, Any] | None = None
        self._deleted: list[str] = []

    def get_default_screen(self) -> Screen[None]:
        return self.main

    def on_mount(self) -> None:
        self._machine.start()

    def on_ready(self) -> None:
        self._show_next_run()

    def on_unmount(self) -> None:
        self._machine.stop()
        self._model.close()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Offer every key's command in the palette, then Textual's own."""
        for key in KEYS:
            run = partial(self.run_action, key.action, self.main)
            yield SystemCommand(key.command, f"{key.explanation} ({key.shown_as})", run)
        ours = {key.command for key in KEYS}
        yield from (c for c in super().get_system_commands(screen) if c.title not in ours)

    # ------------------------------------------------------------------ changes to the store

    @on(OperationRequested)
    def start_operation(self, event: OperationRequested) -> None:
        """Make the change that a dialog asks for."""
        self.perform(event.operation, self.screen if isinstance(self.screen, Dialog) else None)

    @work(thread=True, group="operations")
    def perform(self, operation: Operation, asker: Dialog | None = None) -> None:
        """Make a change in a thread; whoever asked is told, or else the main screen."""
        try:
            outcome = operation()
        except TrainerError as error:
            self._tell_failure(error, asker)
        except OSError as error:
            self._tell_failure(_as_store_error(error), asker)
        else:
            self.post_message(OperationCompleted(outcome))
            if asker is not None and asker.is_attached:
                asker.post_message(OperationCompleted(outcome))

    def _tell_failure(self, error: TrainerError, asker: Dialog | None) -> None:
        target = asker if asker is not None and asker.is_attached else self
        target.post_message(OperationFailed(error))

    @on(OperationCompleted)
    def confirm(self, event: OperationCompleted) -> None:
        """Say what was done, and show the run that it was done to."""
        outcome = event.outcome
        if outcome.deleted and outcome.run_id is not None:
            self._deleted.append(outcome.run_id)
        self.notify(outcome.sentence, markup=False)
        self.main.want(None if outcome.deleted else outcome.run_id)

    @on(OperationFailed)
    def refuse(self, event: OperationFailed) -> None:
        """Say why nothing was done."""
        self.tell_error(event.error)

    def tell_error(self, error: TrainerError) -> None:
        """Show an error with its hint."""
        self.notify(str(error), severity="error", timeout=ERROR_SECONDS, markup=False)

    def notify(self, message: str, **options: Any) -> None:
        """Show a toast; the same words are never shown twice at a time."""
        for earlier in [toast for toast in self._notifications if toast.message == message]:
            self._unnotify(earlier, refresh=False)
        super().notify(message, **options)

    def _shown_run(self) -> Run | None:
        """Return the run under the cursor, or say that there is none."""
        run = self.main.run
        if run is None:
            self.notify("There is no run here. Press n to start one.", severity="warning")
        return run

    # ------------------------------------------------------------------ keys: runs

    @work(thread=True, exclusive=True, group="bases")
    def action_new_run(self) -> None:
        """Open the form, once the files that it starts from are read."""
        try:
            bases = draft.shipped_bases()
            if (run := self.main.run) is not None:
                bases.append(draft.base_of_run(self._store, run.run_id, run.title))
        except TrainerError as error:
            self.call_from_thread(self.tell_error, error)
        else:
            self.call_from_thread(self._open_form, bases)

    def _open_form(self, bases: list[Base]) -> None:
        chosen = {"training.epochs": self._epochs, "device.preference": self._device}
        texts = {key: str(value) for key, value in chosen.items() if value is not None}
        self.push_screen(NewRunDialog(self._store, bases, texts))

    def action_resume(self) -> None:
        """Ask from where to go on, unless the run cannot be resumed."""
        run, glimpse = self._shown_run(), self.main.glimpse
        if run is None or glimpse is None:
            return
        if run.active:
            self.tell_error(ConflictError(f"{run.title} is {run.status}.", "Stop it first."))
        elif not glimpse.checkpoints:
            self.tell_error(
                NotFoundError(
                    f"{run.title} has no checkpoint to resume from.",
                    "Press n to start a new run; 'based on' offers its settings.",
                )
            )
        else:
            self.push_screen(ResumeDialog(self._store, glimpse))

    def action_start_now(self) -> None:
        """Let a queued run begin before its turn."""
        run = self._shown_run()
        if run is not None:
            self.perform(partial(start_now, self._store, run))

    def action_stop(self) -> None:
        """Ask how to stop, unless the run has ended."""
        run = self._shown_run()
        if run is not None and run.active:
            self.push_screen(StopDialog(self._store, run, self.main.no_news.add))
        elif run is not None:
            self.tell_error(ConflictError(f"{run.title} is not active: it is {run.status}."))

    def action_tag(self) -> None:
        """Ask for name and tags."""
        run = self._shown_run()
        if run is not None:
            self.push_screen(LabelDialog(self._store, run))

    def action_delete(self) -> None:
        """Ask before deleting, unless the run is active."""
        run = self._shown_run()
        if run is not None and run.active:
            self.tell_error(ConflictError(f"{run.title} is {run.status}.", "Stop it first (s)."))
        elif run is not None:
            self.push_screen(DeleteDialog(self._store, run, self.main.no_news.add))

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted:
            self.notify("Nothing was deleted here.", severity="warning")
            return
        run_id = self._deleted.pop()
        self.main.no_news.discard(run_id)
        self.perform(partial(restore_run, self._store, run_id))

    # ------------------------------------------------------------------ keys: the playground

    def action_edit_prompt(self) -> None:
        """Let the prompt for the shown run's model be written."""
        self._play(PlaygroundPane.edit_prompt)

    @on(WritingForm.Submitted)
    def action_generate(self) -> None:
        """Let the shown run's model go on from the prompt, instead of what it writes now."""
        self._play(PlaygroundPane.write)

    def action_write_again(self, new_seed: bool) -> None:
        """Let the last text be written once more, with the same seed or a new one."""
        self._play(partial(PlaygroundPane.write_again, new_seed=new_seed))

    def action_write_on(self) -> None:
        """Let the shown run's model go on from the end of the text."""
        self._play(PlaygroundPane.write_on)

    def action_tint(self) -> None:
        """Tint the tokens of the text by their surprise, or no more."""
        self.main.playground.toggle_tint()

    def action_score(self) -> None:
        """Ask for a text to score with the shown run's model."""
        if self._shown_run() is not None:
            self.push_screen(ScoreDialog())

    @on(ScoreDialog.Submitted)
    def score(self, event: ScoreDialog.Submitted) -> None:
        """Look at each token of a text."""
        self._play(partial(PlaygroundPane.score, text=event.text))

    def _play(self, ask: Callable[[PlaygroundPane, Run], None]) -> None:
        """Ask something of the playground with the shown run, and bring it to the front."""
        run = self._shown_run()
        if run is not None:
            self.main.action_show_pane("playground")
            ask(self.main.playground, run)

    # ------------------------------------------------------------------ keys: the next run

    def action_change_epochs(self, by: int) -> None:
        """Change the epochs of the next run; below one they are as configured again."""
        self._epochs = max(0, (self._epochs or Config().training.epochs) + by) or None
        self._show_next_run()

    def action_choose_device(self) -> None:
        """Ask for the device of the next run."""
        self.push_screen(DeviceDialog(self._known_devices))

    @on(DeviceDialog.Probed)
    def remember_devices(self, event: DeviceDialog.Probed) -> None:
        """Keep what torch has said for as long as the program runs."""
        self._known_devices = event.answer

    @on(DeviceDialog.Chosen)
    def choose_device(self, event: DeviceDialog.Chosen) -> None:
        """Take over the device for the next run."""
        self._device = event.preference
        self._show_next_run()
        self.notify(f"{wording.next_run_words(self._epochs, self._device)}.", markup=False)

    def _show_next_run(self) -> None:
        self.main.show_next_run(wording.next_run_words(self._epochs, self._device))

    # ------------------------------------------------------------------ keys: the program

    def action_leave(self) -> None:
        """Stop what is being written, or else go one step back."""
        if not self.main.playground.stop():
            self.main.leave()

    def action_help(self) -> None:
        """Show keys and numbers."""
        self.push_screen(HelpDialog())

    async def action_quit(self) -> None:
        """Leave, and say whether training goes on."""
        active = self.main.active_runs
        self.exit(message=wording.farewell(active) if active else None)


def _as_store_error(error: OSError) -> StoreError:
    return StoreError(f"The run store cannot be changed: {error}.", "Check space and permissions.")
