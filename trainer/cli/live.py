"""Showing something that changes: redrawn in place on a terminal, told line by line elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from trainer import formats
from trainer.cli.describe import outcome, progress_line
from trainer.cli.output import bar, emphasis, note, on_terminal, say
from trainer.cli.session import Session
from trainer.errors import ConflictError
from trainer.following import looks, milestone
from trainer.runs import Run, progress_percent, urgent_words
from trainer.store.records import State

if TYPE_CHECKING:
    from rich.live import Live

FOLLOW_SECONDS = 0.5
"""How often a followed run is looked at."""


class Screen(Protocol):
    """Where changing things are shown."""

    redraws: bool

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in place of those before."""

    def tell(self, line: str) -> None:
        """Add a line that stays."""


class Redrawn:
    """A terminal."""

    redraws = True

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, lines: Sequence[str]) -> None:
        from rich.text import Text

        self._live.update(Text.from_ansi("\n".join(lines)), refresh=True)

    def tell(self, line: str) -> None:
        from rich.text import Text

        self._live.console.print(Text.from_ansi(line))


class Printed:
    """A pipe or a file: what was written stays."""

    redraws = False

    def __init__(self, errors: bool) -> None:
        self._write = note if errors else say

    def show(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._write(line)

    def tell(self, line: str) -> None:
        self._write(line)


@contextmanager
def screen(
    *, redraw: bool = True, keep_last: bool = True, errors: bool = False
) -> Iterator[Screen]:
    """Show on standard output.

    Args:
        redraw: redraw in place where there is a terminal.
        keep_last: what was shown last stays on the terminal at the end.
        errors: show on standard error, since standard output is for one document.
    """
    if errors or not redraw or not on_terminal():
        yield Printed(errors)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=not keep_last) as live:
        yield Redrawn(live)


def follow(session: Session, run: Run) -> int:
    """Show a run from a first look at it until it has ended, and return its exit status.

    The first Ctrl+C asks the run to stop with a checkpoint; the second one lets go.
    """
    try:
        return _follow(session, run)
    except KeyboardInterrupt:
        note("\nAsked the run to save a checkpoint and stop. Ctrl+C again lets go of it.")
    try:
        return _follow(session, _stopping(session, run))
    except KeyboardInterrupt:
        watch = session.command(f"status --run-id {run.run_id}")
        note(f"\nLet go: the run stops by itself. See: {watch}")
        raise


def _stopping(session: Session, run: Run) -> Run:
    try:
        return session.store.stop(run.run_id)
    except ConflictError:  # It has just ended by itself.
        return session.store.get(run.run_id)


def _follow(session: Session, run: Run) -> int:
    with screen(keep_last=False, errors=session.json) as shown:
        last = show_until_end(session, run, shown)
        for line in outcome(last, session.advice(last)):
            shown.tell(line)
    return exit_status(last)


def show_until_end(session: Session, first: Run, shown: Screen) -> Run:
    """Show how a run goes on from a first look at it, and return it as it ended."""
    before, told = first, None
    for run in looks(session.store, first.run_id, FOLLOW_SECONDS):
        for line in news(before, run):
            shown.tell(line)
        if shown.redraws:
            shown.show([progress_line(run.state), *_bar_line(run.state), *urgent_words(run)])
        elif run.active and milestone(run.state) != told:
            shown.tell(" · ".join([progress_line(run.state), *urgent_words(run)]))
            told = milestone(run.state)
        before = run
    return before


def news(before: Run, after: Run) -> list[str]:
    """Tell what is worth keeping: where it went on, new warnings and notices, an evaluation."""
    state, known = after.state, before.state
    lines = [
        f"{emphasis('Warning:', fg='yellow')} {formats.harmless(told)}"
        for told in state.warnings
        if told not in known.warnings
    ]
    if state.resumed is not None and state.resumed != known.resumed:
        whole = state.resumed
        lines.append(f"{whole.checkpoint}.pt is whole: training goes on from step {whole.step:,}.")
    lines += [notice for notice in state.notices if notice not in known.notices]
    if after.paused != before.paused and after.active:
        lines.append(formats.paused(after.paused_pid) or "The run goes on.")
    if after.trouble != before.trouble:
        lines.append(after.trouble or "What was in the way is over.")
    if state.val_loss is not None and state.val_loss != before.state.val_loss:
        lines.append(
            f"step {formats.count(state.step)}: validation loss {formats.loss(state.val_loss)}, "
            f"word perplexity {formats.perplexity(state.val_word_perplexity)}"
        )
    return lines


def _bar_line(state: State) -> list[str]:
    percent = progress_percent(state)
    return [] if percent is None else [bar(percent, 40)]


def exit_status(run: Run) -> int:
    """Return the status of a run as a process tells it: 0 when it completed or was stopped."""
    return 0 if run.status in ("completed", "stopped") else 1
