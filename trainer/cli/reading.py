"""Texts that a person hands over: as an option, in a file, through a pipe."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from trainer.cli.output import note
from trainer.cli.table import shortened
from trainer.errors import UsageError
from trainer.inference import typed
from trainer.inference.request import MAX_PROMPT_CHARACTERS, MAX_SCORED_CHARACTERS

STANDARD_INPUT = "-"
_NAME_WIDTH = 120
_MOST_BYTES_A_CHARACTER = 4


@dataclass(frozen=True)
class Purpose:
    """What a text is read for.

    Args:
        most: characters that it may have.
        advice: what to do where it has more.
        all_of_it: whether a line break at its end is a part of it.
    """

    most: int
    advice: str
    all_of_it: bool = False


PROMPT = Purpose(
    MAX_PROMPT_CHARACTERS,
    "A model reads only the end of a long prompt; give it a part of the text.",
)
SCORED = Purpose(MAX_SCORED_CHARACTERS, "Score a part of it.", all_of_it=True)


class Number(click.ParamType[int | float | str]):
    """A number; anything else is passed on, to be refused together with all that is wrong."""

    name = "number"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float | str:
        """Return a whole number, else any number, else the text."""
        return typed.number(value)


def option_text(given: str, purpose: Purpose = PROMPT) -> str:
    """Return a text that was given as an option; ``-`` reads standard input.

    Raises:
        UsageError: it is not text in UTF-8.
    """
    if given == STANDARD_INPUT:
        return piped_text(purpose)
    try:
        given.encode()
    except UnicodeError as error:
        raise _not_text("What was typed", "not text in UTF-8") from error
    return given


def file_text(name: str, purpose: Purpose = PROMPT) -> str:
    """Return the text of a file; ``-`` reads standard input.

    Raises:
        UsageError: it cannot be read, is too long, or is not text in UTF-8.
    """
    if name == STANDARD_INPUT:
        return piped_text(purpose)
    whose = f"'{shortened(name, _NAME_WIDTH)}'"
    try:
        with Path(name).open("rb") as file:
            return _text(file, whose, purpose)
    except (OSError, ValueError) as error:  # A name with a NUL is a ValueError.
        reason = getattr(error, "strerror", None) or str(error)
        hint = "Name a text file, or '-' for standard input."
        raise UsageError(f"{whose} cannot be read: {reason}.", hint) from error


def piped_text(purpose: Purpose = PROMPT) -> str:
    """Return what comes through standard input.

    Raises:
        UsageError: it is too long, or is not text in UTF-8.
    """
    if awaits_typing():
        note("Type the text; Ctrl+D on an empty line ends it.")
    return _text(sys.stdin.buffer, "Standard input", purpose) if sys.stdin else ""


def awaits_typing() -> bool:
    """Say whether standard input is a keyboard."""
    return bool(sys.stdin) and sys.stdin.isatty()


def _text(file: BinaryIO, whose: str, purpose: Purpose) -> str:
    most_bytes = purpose.most * _MOST_BYTES_A_CHARACTER
    data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise _too_long(whose, purpose)
    if b"\0" in data:
        raise _not_text(whose, "not text: it has a byte of value 0")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(whose, f"not text in UTF-8 (byte {error.start + 1:,})") from error
    if not purpose.all_of_it:
        text = text.removesuffix("\n").removesuffix("\r")
    if len(text) > purpose.most:
        raise _too_long(whose, purpose)
    return text


def _too_long(whose: str, purpose: Purpose) -> UsageError:
    return UsageError(
        f"{whose} is too long: more than {purpose.most:,} characters.", purpose.advice
    )


def _not_text(whose: str, problem: str) -> UsageError:
    return UsageError(f"{whose} is {problem}.", "Give plain text in UTF-8.")
