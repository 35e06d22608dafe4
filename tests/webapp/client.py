"""A small Socket.IO client on a real websocket, for tests against a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import simple_websocket

PATIENCE_SECONDS = 10.0


class LiveClient:
    """Speaks Engine.IO 4 and Socket.IO 5 over one websocket, and keeps every event it gets."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        address = url.replace("http://", "ws://") + "/socket.io/?EIO=4&transport=websocket"
        self._socket = simple_websocket.Client(address, headers=headers or {})
        self.events: list[tuple[str, dict[str, Any]]] = []
        # Sent first: the library sees a greeting that came with the handshake only with the next.
        self._socket.send("40")
        self.greeting = self._receive()
        self.admission = self._receive()

    def emit(self, event: str, payload: dict[str, Any]) -> None:
        """Send an event."""
        self._socket.send("42" + json.dumps([event, payload]))

    def wait_for(self, found: Callable[[Self], bool]) -> None:
        """Take messages until a condition holds."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not found(self):
            assert time.monotonic() < deadline, f"waited in vain; got {self.events[-5:]}"
            self._take(self._socket.receive(timeout=0.2))

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return what came under one name."""
        return [payload for name, payload in self.events if name == event]

    def close(self) -> None:
        """Leave."""
        if self._socket.connected:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> str:
        message = self._socket.receive(timeout=PATIENCE_SECONDS)
        assert message is not None, "the server did not answer"
        return str(message)

    def _take(self, message: str | None) -> None:
        if message == "2":
            self._socket.send("3")
        elif message is not None and message.startswith("42"):
            name, payload = json.loads(message[2:])
            self.events.append((name, payload))
