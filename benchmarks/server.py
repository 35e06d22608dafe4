"""The dashboard as people start it, in a process of its own: its answers and its memory."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import psutil

from trainer.children import module_command

_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """A dashboard that answers."""

    url: str
    process: psutil.Process

    def seconds(self, path: str) -> float:
        """Ask for a page or an answer, read all of it, and return how long that took.

        Raises:
            RuntimeError: it was refused.
            OSError: nobody answers.
        """
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(self.url + path, timeout=_PATIENCE_SECONDS) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path} answered {error.code}") from None
        return time.perf_counter() - began

    def memory_bytes(self) -> int:
        """Return what its processes hold, each shared page divided among those that share it."""
        return sum(proportional_bytes(process.pid) for process in self.processes())

    def processor_seconds(self) -> float:
        """Return the processor time that its processes have taken so far."""
        return processor_seconds(self.processes())

    def processes(self) -> list[psutil.Process]:
        """Return those that serve, and what they have started and is alive."""
        return [self.process, *self.process.children(recursive=True)]


def processor_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the processor time that processes have taken so far; the clock ticks every 10 ms."""
    times = [process.cpu_times() for process in processes]
    return float(sum(one.user + one.system for one in times))


def proportional_bytes(pid: int) -> int:
    """Return a process's proportional set size; see proc(5), ``smaps_rollup``."""
    return proportional_set_size(Path(f"/proc/{pid}/smaps_rollup").read_text())


def proportional_set_size(rollup: str) -> int:
    """Read the proportional set size, in bytes, as the kernel writes it."""
    lines = (line.split() for line in rollup.splitlines())
    return sum(int(words[1]) * 1024 for words in lines if words and words[0] == "Pss:")


@contextmanager
def serving(home: Path) -> Iterator[Server]:
    """Start the dashboard of a workspace, wait until it answers, and end it afterwards."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = module_command("trainer", "--home", str(home), "web", "--port", str(port))
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Server(f"http://127.0.0.1:{port}", psutil.Process(started.pid))
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not _answers(server):
            if started.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the dashboard did not start")
            time.sleep(0.02)
        yield server
    finally:
        started.terminate()
        started.wait()


def _answers(server: Server) -> bool:
    try:
        server.seconds("/healthz")
    except OSError:
        return False
    return True
