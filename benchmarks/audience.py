"""Many pages that watch one run, without the pages: ``python -m benchmarks.audience URL RUN N``.

Each is a connection of its own, as a browser's is. Says ``ready`` when all are connected; after
that a line ``watch`` or ``rest`` on its input makes all of them watch the run or stop doing so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from benchmarks.connection import Connection
from trainer.children import module_command

_PATIENCE_SECONDS = 60.0


class Audience:
    """The process, as its starter sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._say: IO[str] = process.stdin
        self._hear: IO[str] = process.stdout

    def do(self, what: str) -> None:
        """Let all watch, or rest, and wait until all do."""
        self._say.write(f"{what}\n")
        self._say.flush()
        self.expect(what)

    def expect(self, word: str) -> None:
        """Wait for a word of the process."""
        heard = self._hear.readline().strip()
        if heard != word:
            raise RuntimeError(f"the audience said {heard!r}, not {word!r}")


@contextmanager
def audience(url: str, run_id: str, count: int) -> Iterator[Audience]:
    """Connect so many, in a process that gives way to all others, and let them go at the end."""
    command = module_command("benchmarks.audience", url, run_id, str(count))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        made = Audience(process)
        made.expect("ready")
        yield made
    finally:
        process.kill()
        process.communicate()


def main(arguments: Sequence[str] | None = None) -> None:
    """Connect, and do as the input says until it ends."""
    parser = argparse.ArgumentParser(prog="benchmarks.audience", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("run_id")
    parser.add_argument("count", type=int)
    chosen = parser.parse_args(arguments)
    os.nice(19)
    members = [Connection(chosen.url) for _ in range(chosen.count)]
    _say("ready")
    for line in sys.stdin:
        event, payload = _event(line.strip(), chosen.url, chosen.run_id)
        for member in members:
            member.ask(event, payload)
        _say(line.strip())


def _event(word: str, url: str, run_id: str) -> tuple[str, dict[str, object]]:
    """Return what is sent; like a page, who begins to watch has the curves up to now."""
    if word == "rest":
        return "unwatch", {"run_id": run_id}
    with urllib.request.urlopen(f"{url}/api/runs/{run_id}", timeout=_PATIENCE_SECONDS) as answer:
        return "watch", {"run_id": run_id, "after_step": json.load(answer)["step"]}


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
