"""How long a person waits for a command that needs no model."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.measuring import Figure, seconds

COMMANDS = {
    "llm-trainer --help": ["--help"],
    "llm-trainer status": ["status"],
    "llm-trainer status --json": ["status", "--json"],
    "llm-trainer config check": ["config", "check"],
}


def measure(repeats: int = 7) -> list[Figure]:
    """Time whole processes in an empty workspace."""
    with tempfile.TemporaryDirectory() as home:
        return [
            Figure.of(name, [1000 * s for s in seconds(_run(arguments, home), repeats)], "ms")
            for name, arguments in COMMANDS.items()
        ]


def _run(arguments: list[str], home: str) -> Callable[[], object]:
    command = [sys.executable, "-m", "trainer", "--home", home, *arguments]
    return lambda: subprocess.run(command, capture_output=True, check=True)
