"""The list of runs, and one run in detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from trainer.cli.describe import gpu_lines, run_detail, run_table, warning_lines
from trainer.cli.live import screen
from trainer.cli.options import command, run_id_option
from trainer.cli.output import commands_to_try, screen_width
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.following import look_again
from trainer.runs import Run
from trainer.telemetry import Nvml

WATCH_SECONDS = 1.0
_MOST_ROWS = 1000


@command("status", "status", "status --run-id latest --watch", "status --filter 'loss<3' --json")
@run_id_option(required=False)
@click.option("--watch", is_flag=True, help="Refresh every second; Ctrl+C ends.")
@click.option("--status", metavar="STATUS", help="Only runs with this status, or 'active'.")
@click.option("--tag", metavar="T", help="Only runs that carry this tag.")
@click.option(
    "--filter",
    "query",
    metavar="TEXT",
    default="",
    help="Words and comparisons, as in the dashboard: 'tag:lr-sweep perplexity<100 created<2d'.",
)
@click.option("--archived", is_flag=True, help="The archived runs instead of the others.")
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST_ROWS),
    default=20,
    show_default=True,
    metavar="N",
    help="Most runs in the table (JSON has them all).",
)
def status_command(
    session: Session,
    run_id: str | None,
    watch: bool,
    status: str | None,
    tag: str | None,
    query: str,
    archived: bool,
    limit: int,
) -> None:
    """Show the runs, or one run in detail."""
    if watch and session.json:
        raise UsageError("--watch and --json do not go together.", "Ask for --json repeatedly.")
    if run_id is not None:
        found = session.store.resolve(run_id)
        _show_one(session, found, watch)
        return

    def listed() -> Sequence[Run]:
        return session.store.list_all(status=status, tag=tag, query=query, archived=archived)

    if session.json:
        session.report({"runs": [run.as_dict() for run in listed()]}, [])
        return
    nvml = Nvml()
    _draw(lambda: (run_list(session, listed(), limit, nvml), False), watch)


def run_list(session: Session, runs: Sequence[Run], limit: int, nvml: Nvml) -> list[str]:
    """Return the table of runs and what lies under it."""
    if not runs:
        return no_runs(session)
    lines = run_table(runs[:limit], screen_width())
    if len(runs) > limit:
        lines.append(f"… and {len(runs) - limit:,} more (--limit N shows more)")
    return [*lines, *warning_lines(runs[:limit]), *gpu_lines(nvml.read())]


def no_runs(session: Session) -> list[str]:
    """Tell an empty workspace from one where nothing matches, and from a folder that is not."""
    home = session.store.workspace.home
    there = len(session.store.workspace.run_ids())
    if there:
        return [f"None of the {there:,} runs in {home} match (see also --archived)."]
    missing = "" if home.is_dir() else " (there is no such folder yet)"
    start = ("start one", session.command("train --config quickstart"))
    return [f"No runs in {home}{missing}.", *commands_to_try([start])]


def _show_one(session: Session, run_id: str, watch: bool) -> None:
    if session.json:
        session.report(session.store.inspect(run_id).as_dict(), [])
        return
    nvml = Nvml()

    def look() -> tuple[list[str], bool]:
        run = look_again(session.store, run_id)
        checkpoints = session.store.checkpoints(run_id)
        advice = session.advice(run)
        lines = run_detail(run, checkpoints, nvml.read(), screen_width(), advice)
        return lines, not run.active

    _draw(look, watch)


def _draw(look: Callable[[], tuple[list[str], bool]], watch: bool) -> None:
    """Show what there is, again and again while watching, until it says that it has ended."""
    with screen(redraw=watch) as shown, suppress(KeyboardInterrupt):
        while True:
            lines, ended = look()
            shown.show(lines)
            if ended or not watch:
                return
            time.sleep(WATCH_SECONDS)
            if not shown.redraws:
                shown.tell("")
