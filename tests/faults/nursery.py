"""Starts workers without the seconds that importing torch takes, so that hundreds can be killed.

The nursery is a process that has imported all that a worker needs, and has computed nothing: a
fork of it is safe, and is a fresh worker in milliseconds. A child gets what
:mod:`trainer.launch` gives a worker it starts (the lock, a session of its own, worker.log as its
output) and calls :func:`trainer.worker.main`. Each such life may be told what happens to it at
which moment; see :mod:`tests.faults.victim`.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.faults import victim
from tests.faults.victim import Fate
from trainer.children import environment
from trainer.store import process

_LONGEST_REQUEST_BYTES = 65_536
_MOST_DESCRIPTORS = 16
_OUT_OF_THE_WAY = 200
"""The nursery's own descriptors begin here, where none that a worker is given will be."""

_NEEDED_BY_A_WORKER = (
    "trainer.worker",
    "trainer.engine.loop",
    "datasets",
    "tokenizers",
    "torch._dynamo",
)


class Nursery:
    """The process that forks, seen from the tests; it ends when this object is closed.

    ``fate`` is what the lives started from now on are told.
    """

    def __init__(self) -> None:
        self.fate = Fate()
        self.lives: list[Life] = []
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.faults.nursery", str(theirs.fileno())]
        one_thread = {"OMP_NUM_THREADS": "1"}  # Threads do not outlive a fork.
        self._process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), env=environment() | one_thread
        )
        theirs.close()

    def close(self) -> None:
        """End the nursery. Workers live on."""
        self._socket.close()
        self._process.wait()

    def start(
        self,
        command: Sequence[str],
        *,
        stdout: IO[bytes],
        pass_fds: Sequence[int] = (),
        cwd: Path,
        **_: Any,
    ) -> Life:
        """Do what :class:`subprocess.Popen` does with the same arguments, for a worker."""
        module = command.index("-m") + 1
        assert command[module] == "trainer.worker", command
        request = {
            "arguments": list(command[module + 1 :]),
            "cwd": str(cwd),
            "descriptors": list(pass_fds),
            "fate": asdict(self.fate),
        }
        descriptors = [stdout.fileno(), *pass_fds]
        socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        self.lives.append(Life(int(self._socket.recv(_LONGEST_REQUEST_BYTES))))
        return self.lives[-1]


class Life:
    """A worker's process, as far as its launcher looks at it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.identity = process.identify(pid)

    def kill(self) -> None:
        """SIGKILL the process, if it still lives."""
        if self.identity is not None:
            process.send_signal(self.identity, signal.SIGKILL)

    @property
    def lives(self) -> bool:
        return process.is_alive(self.identity)

    def wait(self) -> None:
        """Wait for its end; it is the nursery that collects it."""
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                select.select([descriptor], [], [])
            finally:
                os.close(descriptor)


class Launching:
    """Stands in for the module ``subprocess`` where workers are started."""

    DEVNULL = subprocess.DEVNULL

    def __init__(self, nursery: Nursery) -> None:
        self.Popen = nursery.start


# ---------------------------------------------------------------------- in the nursery


def main(descriptor: int) -> None:
    """Fork a worker for every request, until the tests are over."""
    number = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
    os.close(descriptor)
    requests = socket.socket(fileno=number)
    for module in _NEEDED_BY_A_WORKER:
        importlib.import_module(module)
    from trainer.engine import utilisation

    utilisation.PROBE_SECONDS = 0.0  # The peak is only told to people; half of a life goes into it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _collect)
    gc.freeze()
    while True:
        content, received, _, _ = socket.recv_fds(
            requests, _LONGEST_REQUEST_BYTES, _MOST_DESCRIPTORS
        )
        if not content:
            return
        request = json.loads(content)
        pid = os.fork()
        if pid == 0:
            requests.close()
            _live(request, received)
        for each in received:
            os.close(each)
        requests.send(str(pid).encode())


def _collect(*_: object) -> None:
    """Take note of children that ended, so that none stays a zombie."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _live(request: dict[str, Any], received: Sequence[int]) -> NoReturn:
    """Become a worker as :mod:`trainer.launch` starts it."""
    from trainer import worker

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    os.chdir(request["cwd"])
    _take_over(request["descriptors"], received)
    victim.submit_to(Fate(**request["fate"]))
    sys.exit(worker.main(request["arguments"]))


def _take_over(numbers: Sequence[int], received: Sequence[int]) -> None:
    """Put what was received where the launcher has it: output first, then by number."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY) for each in received]
    for each in received:
        os.close(each)
    os.dup2(nothing, 0)
    for each, number in zip([high[0], *high], [1, 2, *numbers], strict=True):
        os.dup2(each, number)
    for each in high:
        os.close(each)


if __name__ == "__main__":
    main(int(sys.argv[1]))
