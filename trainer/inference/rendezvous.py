"""Where the shared process of a workspace is met: a Unix socket in a folder of this user alone.

Connecting decides whether it lives. Whoever finds nobody opens the socket, under a lock, and hands
it to the process that it starts: so two that come at once start one, and nobody waits for the
process to be ready before asking. A socket that nobody listens at is replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.children import environment, module_command
from trainer.errors import TrainerError
from trainer.store.lock import RunLock

SERVICE_MODULE = "trainer.inference.service"
MOST_PATH_BYTES = 100
"""Where socket paths may be 104 bytes long, or 108, with an end mark."""

_BACKLOG = 64
_LOCK_PATIENCE_SECONDS = 60.0
_MOST_LOG_BYTES = 1 << 18


@dataclass(frozen=True)
class Rendezvous:
    """The files by which the clients of one workspace's process find it.

    Attributes:
        home: the workspace, as a real path.
    """

    home: Path
    folder: Path
    name: str

    @property
    def socket(self) -> Path:
        return self.folder / f"{self.name}.sock"

    @property
    def log(self) -> Path:
        """What the process says, and what it fails with."""
        return self.folder / f"{self.name}.log"

    @property
    def lock(self) -> Path:
        """Held by whoever opens or removes a socket of any workspace."""
        return self.folder / "start.lock"


@dataclass(frozen=True)
class Started:
    """A process that this one has started; a thread waits for it, so that no zombie is left."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid


def rendezvous(home: Path) -> Rendezvous | None:
    """Return where the process of a workspace is met; None where there is no place to meet.

    That is so on a system without Unix sockets, and where the folder belongs to somebody else.
    """
    if not hasattr(socket, "AF_UNIX"):
        return None
    real = home.expanduser().resolve()
    name = hashlib.blake2b(os.fsencode(real), digest_size=8).hexdigest()
    for base in _bases():
        found = Rendezvous(real, base / f"llm-trainer-{os.geteuid()}", name)
        if len(os.fsencode(found.socket)) <= MOST_PATH_BYTES and _is_ours(found.folder):
            return found
    return None


def _bases() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
    return [Path(runtime), Path(tempfile.gettempdir()), Path("/tmp")]


def _is_ours(folder: Path) -> bool:
    """Make a folder that nobody else may enter; say whether it is there and is so."""
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        facts = folder.lstat()
    except OSError:
        return False
    private = stat.S_IMODE(facts.st_mode) & 0o077 == 0
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.geteuid() and private


def connect(path: Path) -> socket.socket | None:
    """Connect to a socket; None where nobody listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except (FileNotFoundError, ConnectionError):
        connection.close()
        return None
    return connection


@contextlib.contextmanager
def starting(place: Rendezvous) -> Iterator[None]:
    """Be the only one who opens or removes sockets.

    Raises:
        TrainerError: another process keeps the lock.
        OSError: the lock file cannot be opened.
    """
    held = RunLock.acquire(place.lock, _LOCK_PATIENCE_SECONDS)
    if held is None:
        raise TrainerError(
            "The model service cannot be started: another process does not let go of "
            f"{place.lock}.",
            "End that process if it hangs ('llm-trainer' or 'fuser' tells which it is).",
        )
    try:
        yield
    finally:
        held.release()


def start(place: Rendezvous) -> Started:
    """Open the socket and start a process that listens at it; the lock must be held.

    Raises:
        OSError: the socket, the log or the process cannot be had.
    """
    place.socket.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(os.fspath(place.socket))
        listening.listen(_BACKLOG)
        process = _spawn(place, listening)
    threading.Thread(target=process.wait, name="model service", daemon=True).start()
    return Started(process)


def _spawn(place: Rendezvous, listening: socket.socket) -> subprocess.Popen[bytes]:
    handed = listening.fileno()
    command = module_command(
        SERVICE_MODULE,
        f"--home={place.home}",
        f"--socket={place.socket}",
        f"--listen={handed}",
    )
    descriptor = os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as log:
        if os.fstat(descriptor).st_size > _MOST_LOG_BYTES:
            log.truncate(0)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[handed],
            env=environment(),
            cwd="/",  # No folder is kept from being removed or unmounted.
            start_new_session=True,  # It outlives whoever starts it, and their terminal.
        )
