"""What the shown run is doing: name, status, phase, progress, time left, trouble."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from trainer import formats
from trainer.queueing import place_words
from trainer.runs import Run, phase_words, urgent_words
from trainer.store.records import State
from trainer.tui import wording
from trainer.tui.live_text import LiveText

MOST_BAR_CELLS = 60
WHERE_THE_REST_IS = "  5 shows all"


class RunHeader(Vertical):
    """A titled line, a line of progress, and what went wrong or must be known."""

    def __init__(self) -> None:
        super().__init__(id="run-header")
        self._shown: Run | None = None

    def compose(self) -> ComposeResult:
        yield LiveText(id="run-title")
        yield LiveText(id="run-progress")
        yield LiveText(id="run-notes")

    def show(self, run: Run) -> None:
        """Show a run as it stands."""
        self._shown = run
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._shown is None or not self.size.width:
            return
        run = self._shown
        urgent = next(iter(urgent_words(run)), "")
        self.query_one("#run-title", LiveText).say(title_line(run, urgent, self.size.width))
        progress = self.query_one("#run-progress", LiveText)
        progress.display = run.active
        progress.say(progress_line(run.state, self.size.width))
        notes = self.query_one("#run-notes", LiveText)
        lines = note_lines(run)
        notes.display = bool(lines)
        roomy = self.screen.has_class("-high")
        notes.say(Text("\n").join(lines) if roomy else clipped(lines, self.size.width - 2))


def title_line(run: Run, urgent: str, width: int) -> Text:
    """Write name and status on a ruled line: ``── name ───── running ──``."""
    words = ", ".join(filter(None, (run.status, place_words(run.state.queue))))
    status = Text(f" {words} ", wording.STATUS_STYLES[run.status])
    status.truncate(max(12, width // 2), overflow="ellipsis")
    if urgent:
        status.append(f"· {urgent} ", "yellow")
    name = Text(f" {run.title} ", "bold")
    name.truncate(max(8, width - status.cell_len - 6), overflow="ellipsis")
    rule = "─" * max(0, width - name.cell_len - status.cell_len - 4)
    return Text.assemble(("──", "dim"), name, (rule, "dim"), status, ("──", "dim"))


def progress_line(state: State, width: int) -> Text:
    """Write phase, bar, percent and time left, leaving out the bar where there is no room."""
    percent = wording.phase_percent(state)
    words = Text(f" {phase_words(state)}", no_wrap=True, overflow="ellipsis")
    left = f"  {formats.time_left(state.eta_seconds)}" if state.eta_seconds is not None else ""
    share = f" {wording.percent_words(percent)}"
    cells = min(MOST_BAR_CELLS, width - words.cell_len - len(share) - len(left) - 3)
    if percent is None or cells < 8:
        return words.append(f"  {share.strip()}{left}")
    done, open_ = wording.bar(percent, cells)
    return words.append("  ").append(done, "green").append(open_, "dim").append(share + left)


def clipped(lines: Sequence[Text], width: int) -> Text:
    """Write the first line alone; where that is not all, the key that shows the rest."""
    if not lines:
        return Text()
    line = lines[0].copy()
    if len(lines) == 1 and line.cell_len <= width:
        return line
    line.truncate(max(0, width - len(WHERE_THE_REST_IS)), overflow="ellipsis")
    return line.append(WHERE_THE_REST_IS, "dim")


def note_lines(run: Run) -> list[Text]:
    """Return why the run failed, what is in its way, and what must be known of it."""
    state = run.state
    lines = [Text.assemble(("warning ", "bold yellow"), told) for told in state.warnings]
    lines += [Text.assemble(("note ", "yellow"), notice) for notice in state.notices]
    if run.trouble is not None:
        lines.insert(0, Text.assemble(("trouble ", "bold yellow"), run.trouble))
    if state.error is not None:
        style = wording.STATUS_STYLES[state.status]
        error = Text.assemble((f"{state.status} ", style), state.error.message)
        lines.insert(0, error.append(f" {state.error.hint}", "italic"))
    return lines
