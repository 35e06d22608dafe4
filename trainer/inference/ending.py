"""How a process has ended, in words."""

from __future__ import annotations

import signal
from typing import IO

_LINES = 8
_BYTES = 4096


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
