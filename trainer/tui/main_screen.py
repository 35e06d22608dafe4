"""The main screen: the runs, and all panes of the run under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Footer

from trainer.filtering import EVERY_RUN, read_filter
from trainer.inference.client import ModelClient
from trainer.runs import Run, RunStore
from trainer.store.records import ACTIVE, Status
from trainer.tui import wording
from trainer.tui.filter_bar import FilterBar
from trainer.tui.keys import bindings
from trainer.tui.live_text import LiveText
from trainer.tui.machine import MachineMeter
from trainer.tui.playground_pane import PlaygroundPane
from trainer.tui.polling import Poller, RunSeen, RunsListed, RunVanished, StoreUnreadable
from trainer.tui.run_table import RunTable
from trainer.tui.run_view import RunView
from trainer.tui.title_bar import TitleBar
from trainer.tui.watching import Glimpse, Listing

NO_RUNS = Text.assemble(
    ("No runs yet\n\n", "bold"),
    "Press ",
    ("n", "bold cyan"),
    " to start one. The form begins with the quickstart, which trains\n"
    "a small model in about three minutes; everything here then fills by itself.",
)


class MainScreen(Screen[None]):
    """Shows what the poller reads. What changes runs is done by the app."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings()]
    AUTO_FOCUS = "#runs"

    def __init__(
        self,
        store: RunStore,
        machine: MachineMeter,
        model: ModelClient,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__(classes="-unread")
        self._store, self._machine, self._model, self._clock = store, machine, model, clock
        self._poller = Poller(store, self.post_message)
        self._listing = Listing(())
        self._unreadable = False
        self._reference_id: str | None = None
        self._query, self._filter = "", EVERY_RUN
        self._filter_fault = ""
        self._wanted: str | None = None
        self.no_news: set[str] = set()
        """Runs whose end or deletion was asked for here, and so need not be told."""
        self.glimpse: Glimpse | None = None

    def compose(self) -> ComposeResult:
        yield TitleBar(self._store.workspace.home)
        yield FilterBar()
        yield RunTable()
        yield LiveText(id="empty")
        yield RunView(self._store, self._model)
        yield LiveText(id="next-run")
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        self._poll()

    def on_unmount(self) -> None:
        self._poller.stop()

    @work(thread=True, exclusive=True, group="poll")
    def _poll(self) -> None:
        self._poller.run()

    # ------------------------------------------------------------------ what was read

    @on(RunsListed)
    def show_listing(self, event: RunsListed) -> None:
        """Show the runs, and tell of those that have ended."""
        self._announce_endings(event.listing)
        self._listing, self._unreadable = event.listing, False
        self._show_runs()

    def _show_runs(self) -> None:
        listing, query = self._listing, self._query
        shown = [run for run in listing.runs if self._filter.matches(run)]
        table = self.query_one(RunTable)
        table.show(shown, self._clock())
        if self._wanted in {run.run_id for run in shown}:
            table.select(str(self._wanted))
            self._wanted = None
        words = wording.counts_words(listing.active, len(shown), len(listing.runs), query)
        if self._filter_fault:
            self.query_one(TitleBar).show(self._filter_fault, "bold red")
        else:
            self.query_one(TitleBar).show(words)
        self._show_emptiness(bool(shown))

    def _show_emptiness(self, any_shown: bool) -> None:
        self.remove_class("-unread")
        self.set_class(not any_shown, "-empty")
        if not any_shown:
            words = Text(f"No run matches '{self._query}'. Esc clears the filter.")
            self.query_one("#empty", LiveText).say(words if self._listing.runs else NO_RUNS)

    def _announce_endings(self, listing: Listing) -> None:
        """Tell of runs that have ended since the last look."""
        before: dict[str, Status] = {run.run_id: run.status for run in self._listing.runs}
        for run in listing.runs:
            if before.get(run.run_id) not in ACTIVE or run.active:
                continue
            if run.run_id in self.no_news:
                self.no_news.discard(run.run_id)
                continue
            self.notify(
                wording.ending_words(run),
                severity="error" if run.status in ("failed", "interrupted") else "information",
                markup=False,
            )

    @on(RunSeen)
    def show_glimpse(self, event: RunSeen) -> None:
        """Show the run, unless the cursor has moved on since."""
        if event.glimpse.run.run_id == self.query_one(RunTable).selected:
            self.glimpse = event.glimpse
            self.query_one(RunView).show_glimpse(event.glimpse, self._machine.latest, self._clock())

    @on(RunVanished)
    def forget_run(self, event: RunVanished) -> None:
        """Tell that the shown run was deleted, unless it was deleted here."""
        if self.glimpse is not None and self.glimpse.run.run_id == event.run_id:
            self.glimpse = None
        if event.run_id not in self.no_news:
            told = f"Run {event.run_id} is gone: its folder was deleted (or moved) elsewhere."
            self.notify(told, severity="warning")
        self._poller.hurry()

    @on(StoreUnreadable)
    def tell_unreadable(self, event: StoreUnreadable) -> None:
        """Tell once that the store cannot be read, and keep showing what was."""
        if not self._unreadable:
            self.notify(str(event.error), severity="error", markup=False)
        self._unreadable = True
        self.query_one(TitleBar).show("the runs cannot be read", "bold red")

    @property
    def playground(self) -> PlaygroundPane:
        """Where prompts are written."""
        return self.query_one(PlaygroundPane)

    @property
    def active_runs(self) -> int:
        """How many runs are being worked on."""
        return self._listing.active

    # ------------------------------------------------------------------ the shown run

    @property
    def run(self) -> Run | None:
        """The run under the cursor, as it was last seen."""
        selected = self.query_one(RunTable).selected
        if self.glimpse is not None and self.glimpse.run.run_id == selected:
            return self.glimpse.run
        return next((run for run in self._listing.runs if run.run_id == selected), None)

    @on(RunTable.Selected)
    def show_selected(self, event: RunTable.Selected) -> None:
        """Show at once what is known of a run; the rest follows when it is read."""
        self._poller.watch(event.run_id)
        run = self.run
        if run is not None:
            self.query_one(RunView).show_run(run)

    @on(RunTable.ColumnsChanged)
    def refill_table(self) -> None:
        """Show the runs in the new columns."""
        self._show_runs_again()

    def _show_runs_again(self) -> None:
        if not self.has_class("-unread"):
            self._show_runs()

    def want(self, run_id: str | None) -> None:
        """Read everything now, and move the cursor to a run once it is listed."""
        self._wanted = run_id or self._wanted
        self._poller.hurry()

    def show_next_run(self, words: str) -> None:
        """Say what is chosen for the next run."""
        self.query_one("#next-run", LiveText).say(
            Text.assemble(
                (f" {words}  ", "dim"),
                ("[ ]", "cyan"),
                (" epochs  ", "dim"),
                ("d", "cyan"),
                (" device", "dim"),
            )
        )

    # ------------------------------------------------------------------ keys of the view

    @on(RunTable.Opened)
    def open_run(self) -> None:
        """Give the run the whole screen."""
        self.add_class("-open")
        self.query_one("#pane-tabs").focus()

    def action_show_pane(self, pane: str) -> None:
        """Bring a pane to the front."""
        self.query_one(RunView).show_pane(pane)

    def action_compare(self) -> None:
        """Keep the run under the cursor to compare others with, or let go of it."""
        run = self.run
        self._reference_id = run.run_id if run and run.run_id != self._reference_id else None
        self._poller.compare(self._reference_id)
        self.notify(
            f"{run.title} is drawn under the curves of the other runs."
            if run and self._reference_id
            else "No run is compared with.",
            markup=False,
        )

    def action_filter(self) -> None:
        """Show the filter and put the cursor into it."""
        self.remove_class("-open")
        self.query_one(FilterBar).open()

    @on(FilterBar.Changed)
    def filter_runs(self, event: FilterBar.Changed) -> None:
        """Show the runs that match what is understood of the filter."""
        self._query = event.query
        self._filter, fault = read_filter(event.query)
        self._filter_fault = "" if fault is None else str(fault)
        self._show_runs_again()

    @on(FilterBar.Closed)
    def focus_table(self) -> None:
        """Put the cursor into the table."""
        self.query_one(RunTable).focus()

    def leave(self) -> None:
        """Go one step back: clear the filter, show the table again, put the cursor into it."""
        if not self.query_one(FilterBar).close():
            self.remove_class("-open")
            self.focus_table()
