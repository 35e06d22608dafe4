"""The connection behind a request: whether its other end is there, and takes what it is sent."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from trainer.errors import TrainerError

READER_PATIENCE_SECONDS = 60.0
"""How long a client may take nothing of an answer before it is cut off."""

T = TypeVar("T")


class ClientGoneError(TrainerError):
    """Nobody is left to be answered."""


class Connection:
    """The socket of a request, where the server shows it; without one all seems well.

    Args:
        environ: of the WSGI request, whose body was read to its end.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._socket: socket.socket | None = environ.get("gunicorn.socket")

    @property
    def gone(self) -> bool:
        """Whether the other end has closed the connection."""
        if self._socket is None:
            return False
        try:
            return self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def while_there(self, told: Iterator[T]) -> Iterator[T]:
        """Pass on what is told while somebody is there.

        Raises:
            ClientGoneError: nobody is.
        """
        for one in told:
            if self.gone:
                raise ClientGoneError("The client has left.")
            yield one

    def paced(
        self, pieces: Iterator[bytes], patience_seconds: float = READER_PATIENCE_SECONDS
    ) -> Iterator[bytes]:
        """Yield each piece when it can be sent, and cut off who takes nothing for long.

        A server's thread that sends to such a client would wait without an end.
        """
        for piece in pieces:
            if not self._takes_more(patience_seconds):
                self._cut()
                return
            yield piece

    def _takes_more(self, patience_seconds: float) -> bool:
        if self._socket is None:
            return True
        waiting = select.poll()
        waiting.register(self._socket, select.POLLOUT)
        return bool(waiting.poll(patience_seconds * 1000))

    def _cut(self) -> None:
        assert self._socket is not None
        with suppress(OSError):  # It has ended by itself.
            self._socket.shutdown(socket.SHUT_RDWR)
