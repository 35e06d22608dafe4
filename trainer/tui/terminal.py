"""What the terminal can do, and a theme that is the terminal's own."""

from __future__ import annotations

import contextlib
import curses
import os
import sys

from textual.theme import Theme

from trainer.errors import UsageError

TERMINAL_THEME = Theme(
    name="terminal",
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "block-cursor-background": "ansi_default",
        "block-cursor-foreground": "ansi_default",
        "block-cursor-text-style": "reverse",
        "block-cursor-blurred-text-style": "bold underline",
        "border": "ansi_cyan",
        "border-blurred": "ansi_bright_black",
        "footer-key-foreground": "ansi_cyan",
        "input-cursor-background": "ansi_default",
        "input-cursor-foreground": "ansi_default",
        "input-cursor-text-style": "reverse",
        "input-selection-background": "ansi_default",
        "input-selection-foreground": "ansi_default",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
        "scrollbar": "ansi_bright_black",
        "scrollbar-hover": "ansi_cyan",
        "scrollbar-active": "ansi_cyan",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
    },
)
"""The terminal's own colours and background: right on dark, light and monochrome terminals."""


def require_terminal() -> None:
    """Refuse to draw where nobody sees it.

    Raises:
        UsageError: standard input, output or error is not a terminal.
    """
    # Textual draws on standard error, so that one counts too.
    if all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return
    raise UsageError(
        "The terminal view needs a terminal: its input and outputs must not be redirected.",
        "In scripts use 'llm-trainer status --json'; to watch, 'llm-trainer status --watch'.",
    )


def prepare_environment() -> None:
    """Tell Textual to do without colour where the terminal has none (a vt100)."""
    if not has_colour():
        os.environ.setdefault("NO_COLOR", "1")


def has_colour() -> bool:
    """Ask the terminal's description whether it knows colours; unknown terminals are trusted."""
    with contextlib.suppress(curses.error):
        curses.setupterm(fd=sys.stdout.fileno())
        return curses.tigetnum("colors") >= 8
    return True
