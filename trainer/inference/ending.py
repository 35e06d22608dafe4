"""How a process has ended, in words."""

from __future__ import annotations

import re
import signal
from typing import IO

_LINES = 8
_BYTES = 4096
_ROUTINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \d+ ")
"""Begins what a process writes into its log on purpose; a failure is written by others."""

_TRACEBACK = "Traceback (most recent call last):"


def ending(status: int) -> str:
    """Say how a process ended, of its exit status as :mod:`subprocess` tells it."""
    if status >= 0:
        return f"exit status {status}"
    return f"killed by {signal.Signals(-status).name}"


def last_lines(file: IO[bytes], since: int = 0) -> str:
    """Return the last lines of a file, none from before the byte ``since``."""
    size = file.seek(0, 2)
    file.seek(max(0, min(since, size), size - _BYTES))
    lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(lines[-_LINES:])


def failure_lines(lines: str) -> str:
    """Return what the last lines of a log tell of a failure: nothing where it ends in routine.

    Of a traceback that is its last line, which names the error.
    """
    told: list[str] = []
    for line in lines.splitlines():
        told = [] if _ROUTINE.match(line) else [*told, line]
    if _TRACEBACK in told:
        return told[-1]
    return "\n".join(told)
