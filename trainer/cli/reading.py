"""Texts that a person hands over: as an option, in a file, through a pipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from trainer.cli.output import note
from trainer.cli.table import shortened
from trainer.errors import UsageError
from trainer.inference import typed
from trainer.inference.request import MAX_PROMPT_CHARACTERS

STANDARD_INPUT = "-"
MOST_BYTES = MAX_PROMPT_CHARACTERS
_NAME_WIDTH = 120


class Number(click.ParamType[int | float | str]):
    """A number; anything else is passed on, to be refused together with all that is wrong."""

    name = "number"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | str:
        """Return a whole number, else any number, else the text."""
        return typed.number(value)


def option_text(given: str) -> str:
    """Return a text that was given as an option; ``-`` reads standard input.

    Raises:
        UsageError: it is not text in UTF-8.
    """
    if given == STANDARD_INPUT:
        return piped_text()
    try:
        given.encode()
    except UnicodeError as error:
        raise _not_text("What was typed", "not text in UTF-8") from error
    return given


def file_text(name: str) -> str:
    """Return the text of a file, without its last line break; ``-`` reads standard input.

    Raises:
        UsageError: it cannot be read, is too long, or is not text in UTF-8.
    """
    if name == STANDARD_INPUT:
        return piped_text()
    whose = f"'{shortened(name, _NAME_WIDTH)}'"
    try:
        with Path(name).open("rb") as file:
            return _text(file, whose)
    except (OSError, ValueError) as error:  # A name with a NUL is a ValueError.
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Name a text file, or '-' for standard input."
        raise UsageError(f"{whose} cannot be read: {reason}.", hint) from error


def piped_text() -> str:
    """Return what comes through standard input, without its last line break.

    Raises:
        UsageError: it is too long, or is not text in UTF-8.
    """
    if awaits_typing():
        note("Type the text; Ctrl+D on an empty line ends it.")
    return _text(sys.stdin.buffer, "Standard input") if sys.stdin else ""


def awaits_typing() -> bool:
    """Say whether standard input is a keyboard."""
    return bool(sys.stdin) and sys.stdin.isatty()


def _text(file: BinaryIO, whose: str) -> str:
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{whose} is too long: more than {MOST_BYTES:,} bytes.",
            "A model reads only the end of a long prompt; give it a part of the text.",
        )
    if b"\0" in data:
        raise _not_text(whose, "not text: it has a byte of value 0")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(whose, f"not text in UTF-8 (byte {error.start + 1:,})") from error
    return text.removesuffix("\n").removesuffix("\r")


def _not_text(whose: str, problem: str) -> UsageError:
    return UsageError(f"{whose} is {problem}.", "Give plain text in UTF-8.")
