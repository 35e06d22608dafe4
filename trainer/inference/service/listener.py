"""Meets the clients of the shared process at its socket; needs no torch to do so."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from trainer import __version__
from trainer.inference.protocol import PROTOCOL, Event
from trainer.inference.rendezvous import Rendezvous
from trainer.inference.service.messages import Inbox
from trainer.inference.service.peer import Line, Peer
from trainer.store.lock import RunLock

GOODBYE_SECONDS = 1.0
_RETRY_SECONDS = 0.2
_CREDENTIALS = struct.Struct("3i")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Names one socket file for good."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> _Place | None:
        try:
            facts = path.stat()
        except OSError:
            return None
        return cls(facts.st_dev, facts.st_ino)


class Listener:
    """Makes a :class:`Peer` of each client that connects, and greets it.

    Args:
        descriptor: the socket, opened by whoever started the process.
    """

    def __init__(self, descriptor: int, rendezvous: Rendezvous, inbox: Inbox) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._rendezvous, self._inbox = rendezvous, inbox
        self._place = _Place.of(rendezvous.socket)
        self._peers: set[Peer] = set()
        self._open = True
        self.has_met_somebody = False
        self._accepting = threading.Thread(target=self._accept, name="listener", daemon=True)
        self._accepting.start()

    @property
    def found(self) -> bool:
        """Whether clients still find the socket: nobody has removed or replaced it."""
        return self._place is not None and _Place.of(self._rendezvous.socket) == self._place

    def forget(self, peer: Peer) -> None:
        """Leave out a client that is gone."""
        self._peers.discard(peer)

    def leave(self) -> None:
        """Take no more clients, and say goodbye to those there are; may be repeated."""
        if self._open:
            self._open = False
            self._remove_socket()
            with contextlib.suppress(OSError):  # Wakes the thread that waits at it.
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._accepting.join()  # Whoever was let in is told too.
            for peer in list(self._peers):
                peer.send({"id": 0, "type": "bye"})

    def dismiss(self) -> None:
        """Hang up on everybody, once they have read what waits for them."""
        for peer in list(self._peers):
            peer.dismiss(GOODBYE_SECONDS)

    def _remove_socket(self) -> None:
        """Remove the socket unless a client is at it, which will replace it then."""
        held = RunLock.acquire(self._rendezvous.lock)
        if held is not None:
            if self.found:
                self._rendezvous.socket.unlink()
            held.release()

    def _accept(self) -> None:
        while self._open:
            try:
                self._greet(self._socket.accept()[0])
            except OSError as error:
                if self._open:  # As when too many files are open: others may close some.
                    log.warning("A client could not be let in: %s", error)
                    time.sleep(_RETRY_SECONDS)

    def _greet(self, connection: socket.socket) -> None:
        if not _is_ours(connection):
            connection.close()
            return
        peer = Peer(_line(connection), self._inbox)
        self._peers.add(peer)
        self.has_met_somebody = True
        peer.send(_hello())


def _hello() -> Event:
    facts = {"version": __version__, "protocol": PROTOCOL, "pid": os.getpid()}
    return {"id": 0, "type": "hello", **facts}


def _line(connection: socket.socket) -> Line:
    def hang_up() -> None:
        with contextlib.suppress(OSError):  # It is closed already.
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    return Line(connection.makefile("rb"), connection.makefile("wb"), hang_up)


def _is_ours(connection: socket.socket) -> bool:
    """Say whether the same user is at the other end; elsewhere the folder's mode alone says so."""
    if not sys.platform.startswith("linux"):
        return True
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(told)
    if user != os.geteuid():
        log.warning("A client of user %d was turned away.", user)
    return bool(user == os.geteuid())
