"""The log of a run."""

from __future__ import annotations

import click

from trainer.cli.options import command, run_id_option
from trainer.cli.output import note, of_others, say
from trainer.cli.session import Session
from trainer.errors import UsageError
from trainer.logreading import newest_matches

FOLLOW_SECONDS = 0.5


@command("logs", "logs --run-id latest --follow", "logs --run-id latest --grep saved")
@run_id_option()
@click.option("--follow", is_flag=True, help="Go on with new lines until the run ends.")
@click.option("--worker", is_flag=True, help="All that the process printed, not only the log.")
@click.option(
    "--tail",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    metavar="N",
    help="How many of the last lines.",
)
@click.option("--grep", metavar="TEXT", help="Only lines that hold this text, in any case.")
def logs_command(
    session: Session, run_id: str, follow: bool, worker: bool, tail: int, grep: str | None
) -> None:
    """Print the last lines of a run's log."""
    if follow and session.json:
        raise UsageError("--follow and --json do not go together.", "Leave one of them out.")
    if follow and grep is not None:
        raise UsageError("--follow and --grep do not go together.", "Leave one of them out.")
    found = session.store.resolve(run_id)
    name = "worker" if worker else "train"
    lines = (
        session.store.log_tail(found, tail, name)
        if grep is None
        else newest_matches(session.store.log_path(found, name), grep, tail)
    )
    session.report({"run_id": found, "log": name, "lines": lines}, map(of_others, lines))
    if follow:
        _follow(session, found, name)
    elif not lines:
        what = "is empty so far" if grep is None else f"has no line with '{grep}'"
        note(f"The log of run {found} {what}.")


def _follow(session: Session, run_id: str, name: str) -> None:
    from trainer.following import LogTail, looks

    paths = session.store.get(run_id).paths
    log = LogTail(paths.train_log if name == "train" else paths.worker_log, from_end=True)
    for run in looks(session.store, run_id, FOLLOW_SECONDS):
        for line in log.new_lines(final=not run.active):
            say(of_others(line))
