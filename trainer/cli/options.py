"""How a command is declared: its class, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from trainer.cli.session import Session
from trainer.errors import UsageError

Function = TypeVar("Function", bound=Callable[..., Any])
HELP_NAMES = {"help_option_names": ["-h", "--help"]}


class Command(click.Command):
    """A command that shows examples and takes ``--home``, ``--debug`` and ``--json`` as well."""

    def __init__(
        self, name: str, *, examples: Sequence[str] = (), reports: bool = True, **options: Any
    ) -> None:
        super().__init__(name, context_settings=HELP_NAMES, **options)
        self.examples = tuple(examples)
        self.reports = reports
        self.params += [home_option(hidden=True), debug_option(hidden=True)]
        if reports:
            self.params.append(json_option())

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, unless ``--json`` was asked of one that reports nothing."""
        if ctx.ensure_object(Session).json and not self.reports:
            raise UsageError(f"'{self.name}' reports nothing, so --json does not go with it.")
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples at the end of the help."""
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            formatter.write("".join(f"  llm-trainer {example}\n" for example in self.examples))


def command(
    name: str, *examples: str, reports: bool = True
) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command of this program.

    Args:
        name: the word on the command line.
        examples: command lines, without the program's name, for the help.
        reports: the command takes ``--json``.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        declare = click.command(name, cls=Command, examples=examples, reports=reports)
        return declare(click.pass_obj(function))

    return decorate


# --------------------------------------------------------------------------- for every command


def _remember(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Session), name, value)
        elif value == "":
            raise click.BadParameter("it is empty; name a folder.")

    return callback


def home_option(hidden: bool = False) -> click.Option:
    """``--home DIR``: the workspace."""
    return click.Option(
        ["--home"],
        metavar="DIR",
        hidden=hidden,
        expose_value=False,
        callback=_remember("home"),
        help="Workspace folder; otherwise LLM_TRAINER_HOME, or the current folder.",
    )


def debug_option(hidden: bool = False) -> click.Option:
    """``--debug``: read from the arguments themselves, since parsing them may fail too."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        hidden=hidden,
        expose_value=False,
        help="Show the traceback of an error.",
    )


def json_option(hidden: bool = False) -> click.Option:
    """``--json``: one document instead of text."""
    return click.Option(
        ["--json"],
        is_flag=True,
        hidden=hidden,
        expose_value=False,
        callback=_remember("json"),
        help="Print one JSON document instead of text.",
    )


# --------------------------------------------------------------------------- for several commands


def _complete_run_id(
    ctx: click.Context, _: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from trainer.store.workspace import Workspace

    ids = ["latest", *Workspace(ctx.ensure_object(Session).home).run_ids()]
    return [CompletionItem(run_id) for run_id in ids if run_id.startswith(incomplete)]


def run_id_option(required: bool = True) -> Callable[[Function], Function]:
    """``--run-id ID``."""
    return click.option(
        "--run-id",
        metavar="ID",
        required=required,
        shell_complete=_complete_run_id,
        help="Run id, the beginning of one, or 'latest'.",
    )


def run_ids_argument(function: Function) -> Function:
    """``ID ID...``."""
    argument = click.argument(
        "run_ids", metavar="ID ID...", nargs=-1, shell_complete=_complete_run_id
    )
    return argument(function)


def checkpoint_option(function: Function) -> Function:
    """``--checkpoint latest|best|epoch-N|step-N``."""
    option = click.option(
        "--checkpoint",
        metavar="latest|best|epoch-N|step-N",
        default="latest",
        show_default=True,
        help="Which checkpoint of the run.",
    )
    return option(function)
