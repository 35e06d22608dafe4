"""The program itself: finds the command, and turns what goes wrong into words and exit status."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NoReturn

import click

from trainer import __version__
from trainer.cli.failures import INTERRUPTED_STATUS, USAGE_STATUS, Failure, explain, show
from trainer.cli.options import HELP_NAMES, debug_option, home_option, json_option
from trainer.cli.output import note, tolerate_any_screen
from trainer.cli.session import PROGRAM, Session
from trainer.errors import TrainerError

SECTIONS: dict[str, dict[str, str]] = {
    "Train": {"train": "training", "resume": "training", "stop": "training"},
    "Watch": {"status": "status", "logs": "logs", "compare": "compare"},
    "Use": {
        "generate": "generate",
        "score": "score",
        "eval": "evaluate",
        "export": "export",
        "import": "importing",
    },
    "Keep order": {"annotate": "keeping", "delete": "keeping"},
    "Prepare": {
        "config": "configure",
        "devices": "devices",
        "notify": "notify",
        "completion": "completion",
    },
    "Other viewers": {"web": "viewers", "tui": "viewers"},
}
"""Every command under its heading, with the module of ``trainer.cli.commands`` that has it."""

_SHORT_HELP = 66

MODULES = {name: module for section in SECTIONS.values() for name, module in section.items()}


class Application(click.Group):
    """The group of all commands; a command's module is imported when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the help."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"trainer.cli.commands.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; guess what was meant where there is none."""
        if args and args[0] not in MODULES and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], MODULES, n=1)
            guess = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"There is no command '{args[0]}'.{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands under their headings."""
        width = max(map(len, MODULES))
        for heading, names in SECTIONS.items():
            with formatter.section(heading):
                commands = [(name, self.get_command(ctx, name)) for name in names]
                formatter.write_dl(
                    [(f"{n:<{width}}", c.get_short_help_str(_SHORT_HELP)) for n, c in commands if c]
                )

    def main(self, args: Sequence[str] | None = None, *_: Any, **options: Any) -> NoReturn:
        """Run a command line and end with its exit status."""
        arguments = list(sys.argv[1:] if args is None else args)
        session = Session(arguments=arguments)
        options |= {"prog_name": PROGRAM, "standalone_mode": False, "obj": session}
        try:
            result = super().main(arguments, **options)
        except click.Abort as abort:
            sys.exit(_status_of_abort(abort))
        except (TrainerError, click.ClickException, OSError) as error:
            if "--debug" in arguments:
                traceback.print_exc()
            failure = explain(error, session)
            show(failure)
            sys.exit(failure.exit_status)
        sys.exit(result if isinstance(result, int) else 0)


def _status_of_abort(abort: click.Abort) -> int:
    """Tell Ctrl+C, also at a question, from a question that was answered with no."""
    if isinstance(abort.__cause__, KeyboardInterrupt):
        return INTERRUPTED_STATUS
    at_question = isinstance(abort.__context__, KeyboardInterrupt | EOFError)
    note("\nNothing was done." if at_question else "Nothing was done.")
    return INTERRUPTED_STATUS if isinstance(abort.__context__, KeyboardInterrupt) else 1


@click.group(
    cls=Application,
    context_settings=HELP_NAMES,
    invoke_without_command=True,
    subcommand_metavar="COMMAND ...",
    params=[home_option(), debug_option(), json_option(hidden=True)],
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.pass_context
def application(ctx: click.Context) -> None:
    """Train small GPT-style language models on your own machine, and watch them learn.

    Runs live in a workspace folder and go on training when every viewer is closed.
    """
    if ctx.invoked_subcommand is None:
        note(ctx.get_help())
        ctx.exit(USAGE_STATUS)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program: the console script, and ``python -m trainer``."""
    tolerate_any_screen()
    if "--debug" not in (sys.argv if arguments is None else arguments):
        sys.excepthook = _tell_unexpected
    application.main(arguments)


def _tell_unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say that this is a mistake of the program's own, and how to see where."""
    if issubclass(kind, KeyboardInterrupt):
        return
    words = "".join(traceback.format_exception_only(kind, error)).strip()
    hint = "This is a mistake in llm-trainer; the same command with --debug shows where."
    show(Failure(f"Something unexpected happened: {words}", hint, 1))
