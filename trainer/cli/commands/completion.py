"""Completion of commands, options, run ids and settings in the shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from trainer.cli.options import command
from trainer.cli.output import say
from trainer.cli.session import PROGRAM, Session
from trainer.errors import UsageError

COMPLETE_VARIABLE = "_LLM_TRAINER_COMPLETE"


@command(
    "completion",
    "completion bash >> ~/.bashrc",
    "completion fish > ~/.config/fish/completions/llm-trainer.fish",
    reports=False,
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(_: Session, shell: str) -> None:
    """Print a completion script for the shell.

    It completes commands, options, run ids and settings.
    """
    from trainer.cli.application import application

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"There is no completion for {shell}.", "There are: bash, zsh, fish.")
    say(kind(application, {}, PROGRAM, COMPLETE_VARIABLE).source())
