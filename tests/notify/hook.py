"""A webhook that really listens, answers as it is told to and remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE_SECONDS = 60.0
SECRET = "T0/B0/s3cret"

Answer = Callable[["Request"], None]


class Request(BaseHTTPRequestHandler):
    """One message that came in."""

    def do_POST(self) -> None:
        """Remember the message, and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hook: Hook = self.server.hook  # type: ignore[attr-defined]
        hook.take(self, json.loads(body), dict(self.headers))

    def say(self, status: int, **headers: str) -> None:
        """Answer without a body."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Hook:
    """The messages of a listening webhook, and its answers: the last one stays."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}/{SECRET}"
        self.messages: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answered = 0
        self.answers: list[Answer] = [lambda request: request.say(204)]
        self.released = threading.Event()
        self._changed = threading.Condition()

    def take(self, request: Request, message: dict[str, Any], headers: dict[str, str]) -> None:
        """Remember one message, and answer it."""
        with self._changed:
            self.messages.append(message)
            self.headers.append(headers)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self._changed.notify_all()
        answer(request)
        self.answered += 1

    def hang(self, request: Request) -> None:
        """Answer only when the test lets go."""
        self.released.wait(PATIENCE_SECONDS)
        request.say(204)

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Return the messages once there are so many."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.messages) >= count, PATIENCE_SECONDS)
        assert came, f"{len(self.messages)} of {count} messages came"
        return self.messages


def status(number: int, **headers: str) -> Answer:
    """Make an answer without a body."""
    return lambda request: request.say(number, **headers)


@contextmanager
def listening() -> Iterator[Hook]:
    """A webhook on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    server.daemon_threads = True
    hook = Hook(server)
    server.hook = hook  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield hook
    finally:
        hook.released.set()
        server.shutdown()
        server.server_close()
