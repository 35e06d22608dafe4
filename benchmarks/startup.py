"""How long a person waits for a command that needs no model, and for the first page."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from socket import socket

from benchmarks.measuring import Figure, seconds
from benchmarks.options import Options
from trainer.children import module_command

TITLE = "Start-up"
ROUNDS = 7
COMMANDS = {
    "llm-trainer --help": ["--help"],
    "llm-trainer status": ["status"],
    "llm-trainer status --json": ["status", "--json"],
    "llm-trainer config check": ["config", "check"],
}
_PATIENCE_SECONDS = 60.0


def measure(options: Options) -> list[Figure]:
    """Time whole processes in an empty workspace."""
    rounds = options.rounds(ROUNDS)
    with tempfile.TemporaryDirectory() as home:
        commands = [
            Figure.of(name, [1000 * s for s in seconds(_run(arguments, home), rounds)], "ms")
            for name, arguments in COMMANDS.items()
        ]
        pages = [_first_page(home) for _ in range(options.rounds(3))]
    ready, page, again = zip(*pages, strict=True)
    return [
        *commands,
        Figure.of("llm-trainer web, until it answers", ready, "ms"),
        Figure.of("its first page", page, "ms"),
        Figure.of("that page again", again, "ms"),
    ]


def _run(arguments: list[str], home: str) -> Callable[[], object]:
    command = [sys.executable, "-m", "trainer", "--home", home, *arguments]
    return lambda: subprocess.run(command, capture_output=True, check=True)


def _first_page(home: str) -> tuple[float, float, float]:
    """Start the dashboard; return milliseconds to readiness, of the first page and of it again."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    server = subprocess.Popen(
        module_command("trainer", "--home", home, "web", "--port", str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _answers(f"{address}/healthz"):
            if server.poll() is not None or time.perf_counter() - began > _PATIENCE_SECONDS:
                raise RuntimeError("the dashboard did not start")
            time.sleep(0.005)
        ready = time.perf_counter() - began
        first, again = seconds(lambda: _fetch(f"{address}/"), 2, warm_ups=0)
    finally:
        server.terminate()
        server.wait()
    return 1000 * ready, 1000 * first, 1000 * again


def _free_port() -> int:
    with socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _answers(address: str) -> bool:
    try:
        return _fetch(address) > 0
    except (urllib.error.URLError, ConnectionError):
        return False


def _fetch(address: str) -> int:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return len(answer.read())
