"""What a person reads when something goes wrong, and the exit status that goes with it."""

from __future__ import annotations

from dataclasses import dataclass

import click

from trainer import formats
from trainer.cli.output import emphasis, note
from trainer.cli.session import Session
from trainer.cli.table import shortened
from trainer.errors import TrainerError

USAGE_STATUS = 2
INTERRUPTED_STATUS = 130
"""What a shell reports for a program ended by Ctrl+C: 128 and the number of SIGINT."""

_LONGEST_NAME = 120


@dataclass(frozen=True)
class Failure:
    """What happened, what to do about it, and the exit status."""

    message: str
    hint: str
    exit_status: int


def explain(error: TrainerError | click.ClickException | OSError, session: Session) -> Failure:
    """Turn an expected error into one or two sentences, with commands for this workspace."""
    if isinstance(error, TrainerError):
        return Failure(error.message, session.reaching(error.hint), error.exit_code)
    if isinstance(error, click.UsageError):
        # Some of click's messages are lists over several lines.
        return Failure(" ".join(error.format_message().split()), _see_help(error), USAGE_STATUS)
    if isinstance(error, click.ClickException):
        return Failure(error.format_message(), "", error.exit_code)
    return Failure(_system_words(error), "Check that it exists and that you may use it.", 1)


def _see_help(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "llm-trainer"
    return f"See '{command} --help'."


def _system_words(error: OSError) -> str:
    reason = error.strerror or str(error)
    if not error.filename:
        return f"{reason}."
    return f"'{shortened(str(error.filename), _LONGEST_NAME)}' cannot be used: {reason}."


def show(failure: Failure) -> None:
    """Print a failure to standard error."""
    note(f"{emphasis('Error:', fg='red')} {formats.harmless(failure.message)}")
    if failure.hint:
        note(formats.harmless(failure.hint))
