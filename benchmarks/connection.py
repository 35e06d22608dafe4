"""A live connection as a page has it: Socket.IO, protocol 5 over a websocket, as far as needed."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import simple_websocket

_PATIENCE_SECONDS = 60.0

T = TypeVar("T")
Take = Callable[[str, dict[str, Any]], None]


def heard(answers: queue.SimpleQueue[T]) -> T:
    """Wait for the next answer.

    Raises:
        TimeoutError: there is none for a long while.
    """
    try:
        return answers.get(timeout=_PATIENCE_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"nothing was heard for {_PATIENCE_SECONDS:g} s") from None


def throw_away(_event: str, _data: dict[str, Any]) -> None:
    """Take what was sent as a page does that draws nothing."""


class Connection:
    """One connection; several threads may ask at once.

    Args:
        url: of the dashboard.
        take: is called with each event and its data, by a thread of the connection. By default
            they are not even read.

    Raises:
        OSError: nobody answers.
    """

    def __init__(self, url: str, take: Take = throw_away) -> None:
        address = url.replace("http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
        try:
            self._line = simple_websocket.Client(address)
        except simple_websocket.errors.SimpleWebsocketError as error:
            raise ConnectionError(f"{address} answers no websocket") from error
        self._take = take
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._answers: defaultdict[str, queue.SimpleQueue[str]] = defaultdict(queue.SimpleQueue)
        threading.Thread(target=self._listen, daemon=True).start()
        self._send("40")
        heard(self._answers[""])

    def ask(self, event: str, payload: object) -> Any:
        """Send an event, wait until it was heard, and return the answer."""
        number = str(next(self._numbers))
        self._send(f"42{number}{json.dumps([event, payload])}")
        answer = heard(self._answers[number])
        del self._answers[number]
        return json.loads(answer)[0]

    def close(self) -> None:
        """Leave, as a page that is closed."""
        self._line.close()

    def _send(self, packet: str) -> None:
        with self._lock:
            self._line.send(packet)

    def _listen(self) -> None:
        while True:
            try:
                packet = str(self._line.receive())
            except simple_websocket.ConnectionClosed:
                return
            self._hear(packet)

    def _hear(self, packet: str) -> None:
        if packet == "2":  # A ping.
            self._send("3")
        elif packet.startswith(("40", "43")):
            number, told = split(packet)
            self._answers[number].put(told)
        elif packet.startswith("42") and self._take is not throw_away:
            event, data = json.loads(packet[2:])
            self._take(event, data)


def split(packet: str) -> tuple[str, str]:
    """Return the number of an answer, if it has one, and what it says."""
    rest = packet[2:]
    told = rest.lstrip("0123456789")
    return rest[: len(rest) - len(told)], told
