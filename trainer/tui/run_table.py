"""The table of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable
from textual.widgets.data_table import RowDoesNotExist

from trainer import formats
from trainer.runs import Run, status_word, warning
from trainer.tui import wording

SHORTEST_NAME = 12
WIDE = 110
"""Cells from which the table has more columns."""


@dataclass(frozen=True)
class Column:
    """One column: its width without padding, and how a run reads in it at a moment."""

    title: str
    width: int
    cell: Callable[[Run, datetime], str | Text]
    number: bool = False
    wide_only: bool = False

    @property
    def label(self) -> Text:
        """The title, over the end of numbers and the beginning of words."""
        return Text(self.title, justify="right" if self.number else "left")

    def text(self, run: Run, at: datetime) -> Text:
        """Return what stands in a run's cell."""
        content = self.cell(run, at)
        text = content if isinstance(content, Text) else Text(content)
        text.justify = "right" if self.number else "left"
        # What does not fit must look cut: a number without its last digits reads as another.
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _name(run: Run, _: datetime) -> Text:
    cell = Text("* " if run.annotations.pinned else "")
    cell.append(run.title, "bold" if run.active else "")
    for tag in run.annotations.tags:
        cell.append(f" #{tag}", "dim")
    return cell


def _status(run: Run, _: datetime) -> Text:
    if status_word(run) == "paused":
        status = Text(wording.paused_words(run.state), "yellow")
    else:
        status = Text(wording.status_words(run.state), wording.STATUS_STYLES[run.status])
    return status.append(" !", "bold yellow") if warning(run) else status


def _perplexity(run: Run, _: datetime) -> str:
    return formats.perplexity(run.state.val_word_perplexity)


def _rate(run: Run, _: datetime) -> str:
    rate = run.state.tokens_per_second
    if rate is None or rate >= 999_999.5:
        return formats.count(rate)
    return f"{rate:,.0f}"


def _dataset(run: Run, _: datetime) -> str:
    return run.state.dataset or formats.ABSENT


NAME = Column("Name", 0, _name)
COLUMNS = (
    NAME,
    Column("Status", 14, _status),
    Column("Loss", 7, lambda run, _: formats.loss(run.state.train_loss), number=True),
    Column("Val ppl", 7, _perplexity, number=True),
    Column("Tok/s", 7, _rate, number=True),
    Column("Time", 16, lambda run, _: wording.time_words(run.state)),
    Column("Device", 8, lambda run, _: run.state.device or formats.ABSENT, wide_only=True),
    Column("Dataset", 20, _dataset, wide_only=True),
    Column("Started", 11, lambda run, at: formats.age(run.state.created_at, at), wide_only=True),
)
"""The columns; the name takes the width that the others leave."""


class RunTable(DataTable[Text]):
    """Runs with stable rows: a cell is touched only when what it says has changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "scroll_top", "First run", show=False),
        Binding("end", "scroll_bottom", "Last run", show=False),
        Binding("j", "cursor_down", "Next run", show=False),
        Binding("k", "cursor_up", "Previous run", show=False),
    ]

    class Selected(Message):
        """Another run is under the cursor, or none."""

        def __init__(self, run_id: str | None) -> None:
            super().__init__()
            self.run_id = run_id

    class Opened(Message):
        """A run was asked for with Enter or a double click."""

    def __init__(self) -> None:
        super().__init__(
            cursor_type="row", cursor_foreground_priority="css", zebra_stripes=False, id="runs"
        )
        self._cells: dict[str, tuple[Text, ...]] = {}
        self._columns: list[Column] = []
        self.selected: str | None = None

    def show(self, runs: Sequence[Run], at: datetime) -> None:
        """Show these runs in this order; the cursor stays on the run that it is on."""
        if not self._columns:
            return
        cells = {run.run_id: self._row(run, at) for run in runs}
        if list(cells) == list(self._cells):
            self._update_changed(cells)
        else:
            self._rebuild(cells)
        self._cells = cells

    def select(self, run_id: str) -> None:
        """Move the cursor to a run, if it is in the table."""
        if run_id in self._cells:
            self.move_cursor(row=self.get_row_index(run_id))

    def _row(self, run: Run, at: datetime) -> tuple[Text, ...]:
        return tuple(column.text(run, at) for column in self._columns)

    def _update_changed(self, cells: dict[str, tuple[Text, ...]]) -> None:
        for run_id, row in cells.items():
            for column, old, new in zip(self._columns, self._cells[run_id], row, strict=True):
                if old != new:
                    self.update_cell(run_id, column.title, new)

    def _rebuild(self, cells: dict[str, tuple[Text, ...]]) -> None:
        """Fill the table anew because runs came, went or changed places."""
        row = self.cursor_row
        with self.prevent(DataTable.RowHighlighted):
            self.clear()
            for run_id, texts in cells.items():
                self.add_row(*texts, key=run_id)
            if self.selected in cells:
                row = list(cells).index(self.selected)
            self.move_cursor(row=min(row, len(cells) - 1))
        self._tell_selected()

    def _tell_selected(self) -> None:
        selected = self._run_under_cursor()
        if selected != self.selected:
            self.selected = selected
            self.post_message(self.Selected(selected))

    def _run_under_cursor(self) -> str | None:
        try:
            return self.ordered_rows[self.cursor_row].key.value
        except (IndexError, RowDoesNotExist):
            return None

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns to the width."""
        chosen = [c for c in COLUMNS if event.size.width >= WIDE or not c.wide_only]
        name_width = max(SHORTEST_NAME, event.size.width - fixed_width(chosen) - 3)
        columns = [replace(NAME, width=name_width), *chosen[1:]]
        if columns == self._columns:
            return
        self._columns = columns
        self._cells = {}
        with self.prevent(DataTable.RowHighlighted):
            self.clear(columns=True)
            for column in columns:
                self.add_column(column.label, width=column.width, key=column.title)
        self.post_message(self.ColumnsChanged())

    class ColumnsChanged(Message):
        """The columns were fitted anew; the rows must be shown again."""

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self._tell_selected()

    def action_select_cursor(self) -> None:
        """Enter opens; a single click, which Textual takes for the same, only selects."""
        self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.post_message(self.Opened())


def fixed_width(columns: Sequence[Column]) -> int:
    """Return the cells that all columns but the first take, padding of all included."""
    return sum(column.width + 2 for column in columns[1:])
