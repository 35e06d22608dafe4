"""The live connections: clients come and go, their events are answered, messages go out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from flask import request
from flask_socketio import ConnectionRefusedError as ConnectionRefused
from flask_socketio import SocketIO

from trainer.errors import TrainerError
from webapp.errors import error_body, internal_error

log = logging.getLogger(__name__)

MAX_CLIENTS = 96
MAX_BACKLOG_MESSAGES = 8
"""A client that has this many messages waiting is sent no more until it has taken them."""

Handler = Callable[[str, Any], None]
Refuse = Callable[[str, Any, TrainerError], None]


class Outlet(Protocol):
    """The way to the clients."""

    def emit(self, event: str, data: dict[str, Any], *clients: str) -> None:
        """Send an event to some clients, written once for all of them."""

    def backlog(self, client: str) -> int | None:
        """Return how many messages the client has not taken yet, or None when it has left."""


class SocketOutlet:
    """The way to the clients over Socket.IO."""

    def __init__(self, socketio: SocketIO) -> None:
        self._socketio = socketio

    def emit(self, event: str, data: dict[str, Any], *clients: str) -> None:
        """Send an event to some clients, written once for all of them."""
        self._socketio.emit(event, data, to=list(clients))

    def backlog(self, client: str) -> int | None:
        """Return how many messages wait in the client's queue, which the library never bounds."""
        server = self._socketio.server
        if not server.manager.is_connected(client, "/"):
            return None
        connection = server.eio.sockets.get(server.manager.eio_sid_from_sid(client, "/"))
        return 0 if connection is None else int(connection.queue.qsize())


def client_id() -> str:
    """Return the id of the client whose event is being handled."""
    current: Any = request
    return str(current.sid)


def register(socketio: SocketIO, on_leave: Sequence[Callable[[str], None]]) -> None:
    """Install what happens when a client comes or leaves, and when a handler fails.

    Each client holds threads of the server, so only so many may come: the pages need theirs.
    """
    connected: set[str] = set()

    def connect(*_: object) -> None:
        if len(connected) >= MAX_CLIENTS:
            raise ConnectionRefused("Too many pages are open; close some of them.")
        connected.add(client_id())

    def disconnect(*_: object) -> None:
        connected.discard(client_id())
        for leave in on_leave:
            leave(client_id())

    def fail(error: Exception) -> dict[str, Any]:
        log.error("A live event failed.", exc_info=error)
        body = error_body(internal_error())
        socketio.emit("error", body, to=client_id())
        return body

    socketio.on_event("connect", connect)
    socketio.on_event("disconnect", disconnect)
    socketio.on_error_default(fail)


def answer_event(socketio: SocketIO, event: str, handler: Handler, refuse: Refuse) -> None:
    """Install a handler that answers ``{"ok": true}``, or ``{"error": …}`` when it refuses.

    Args:
        handler: takes the client and what it sent; without anything that is ``{}``.
        refuse: tells the client of a refusal by an event, for those that await no answer.
    """

    def answer(*sent: Any) -> dict[str, Any]:
        client, payload = client_id(), sent[0] if sent and sent[0] is not None else {}
        try:
            handler(client, payload)
        except TrainerError as error:
            refuse(client, payload, error)
            return error_body(error)
        return {"ok": True}

    socketio.on_event(event, answer)
