"""What goes to the screen: results on standard output, everything else on standard error.

Colour is for terminals only and respects ``NO_COLOR``; a screen that cannot show a character gets
the nearest plain one instead of an error.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import click

from trainer.formats import harmless

PLAIN_WIDTH = 80
_PLAIN_WORDS = {"–": "-", "…": "...", "·": "-", "×": "x", "°": "", "█": "#", "░": "."}
_REPLACEMENT = "llm-trainer-plain"


def colour() -> bool | None:
    """Return False where colour is not wanted, or None to let the terminal decide."""
    unwanted = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return False if unwanted else None


def say(text: str = "", *, newline: bool = True) -> None:
    """Write a result to standard output."""
    click.echo(text, file=sys.stdout, nl=newline, color=colour())


def note(text: str = "", *, newline: bool = True) -> None:
    """Write what is not the result (progress, warnings, errors) to standard error."""
    click.echo(text, file=sys.stderr, nl=newline, color=colour())


def say_json(document: Any) -> None:
    """Write one JSON document to standard output."""
    unicode_screen = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    say(json.dumps(document, indent=2, ensure_ascii=not unicode_screen, allow_nan=False))


def emphasis(text: str, **look: Any) -> str:
    """Make a text stand out where the screen can."""
    return click.style(text, bold=True, **look)


def faint(text: str) -> str:
    """Make a text step back where the screen can."""
    return click.style(text, dim=True)


def screen_width() -> int:
    """Return the columns of the terminal; 80 when there is none."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns


def on_terminal() -> bool:
    """Say whether standard output is a terminal that can be redrawn."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def aligned(pairs: Iterable[tuple[str, str]], width: int, indent: int = 2) -> list[str]:
    """Set labels and texts in two columns; a long text goes on under itself."""
    given = [(label, text) for label, text in pairs if text]
    label_width = max((len(label) for label, _ in given), default=0)
    lines: list[str] = []
    for label, text in given:
        first = f"{'':{indent}}{label:<{label_width}}  "
        room = max(20, width - len(first))
        wrapped = textwrap.wrap(
            harmless(text), room, break_on_hyphens=False, break_long_words=False
        )
        lines += [faint(first) + wrapped[0], *(" " * len(first) + line for line in wrapped[1:])]
    return lines


def commands_to_try(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Set what to do next beside the command that does it; commands are never broken."""
    label_width = max(len(label) for label, _ in pairs)
    return [f"  {faint(f'{label:<{label_width}}')}  {command}" for label, command in pairs]


def bar(percent: float, width: int = 20) -> str:
    """Draw a share of a hundred as blocks."""
    filled = round(width * min(100.0, max(0.0, percent)) / 100)
    return "█" * filled + "░" * (width - filled)


def of_others(text: str) -> str:
    """Return text that others wrote: as it is for a pipe, and harmless for a terminal."""
    return harmless(text) if sys.stdout.isatty() else text


def tolerate_any_screen() -> None:
    """Write what a screen cannot show as plain characters, whatever its encoding."""
    codecs.register_error(_REPLACEMENT, _plain_words)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_REPLACEMENT)


def _plain_words(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    return "".join(_PLAIN_WORDS.get(character, "?") for character in refused), error.end
