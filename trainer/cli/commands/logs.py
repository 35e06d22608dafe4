"""The log of a run."""

from __future__ import annotations

import click

from trainer.cli.options import command, run_id_option
from trainer.cli.output import note, of_others, say
from trainer.cli.session import Session
from trainer.errors import UsageError

FOLLOW_SECONDS = 0.5


@command("logs", "logs --run-id latest --follow")
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
def logs_command(session: Session, run_id: str, follow: bool, worker: bool, tail: int) -> None:
    """Print the last lines of a run's log."""
    if follow and session.json:
        raise UsageError("--follow and --json do not go together.", "Leave one of them out.")
    found = session.store.resolve(run_id)
    name = "worker" if worker else "train"
    lines = session.store.log_tail(found, tail, name)
    session.report({"run_id": found, "log": name, "lines": lines}, map(of_others, lines))
    if follow:
        _follow(session, found, name)
    elif not lines:
        note(f"The log of run {found} is empty so far.")


def _follow(session: Session, run_id: str, name: str) -> None:
    from trainer.following import LogTail, looks

    paths = session.store.get(run_id).paths
    log = LogTail(paths.train_log if name == "train" else paths.worker_log, from_end=True)
    for run in looks(session.store, run_id, FOLLOW_SECONDS):
        for line in log.new_lines(final=not run.active):
            say(of_others(line))
