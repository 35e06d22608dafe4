"""Stands in for the server of the live connection: every word that comes is set by a test."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

OPENED = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'


def named(token: str, logprob: float) -> dict[str, Any]:
    data = list(token.encode())
    return {"token": token, "id": sum(data), "bytes": data, "logprob": logprob}


def entry(token: str, logprob: float, *others: tuple[str, float]) -> dict[str, Any]:
    """What is told of a token: how likely it was, and what else could have come."""
    top = sorted([(token, logprob), *others], key=lambda one: -one[1])
    return named(token, logprob) | {"top": [named(*one) for one in top]}


LIKELY = [
    entry(" upon", -0.1, (" in", -3.0)),
    entry(" a", -1.2, (" the", -0.5), ("", -6.0)),
    entry(" hill", -9.0, (" time", -0.2)),
]


class Writer:
    """Stands where the live connection's server is, and says what a test tells it to."""

    def __init__(self, page: Page) -> None:
        self.asked: list[dict[str, Any]] = []
        self.warmed: list[dict[str, Any]] = []
        self.scored: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        page.route_web_socket("**/socket.io/**", self._open)

    def _open(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self._take)
        socket.send(OPENED)

    def _take(self, message: str | bytes) -> None:
        text = str(message)
        if text.startswith("40"):
            self._socket.send('40{"sid":"b"}')
        elif text.startswith("42"):
            event, payload = json.loads(text[2:])
            kept = {"generate": self.asked, "warm": self.warmed, "score": self.scored}
            if event in kept:
                kept[event].append(payload)
            elif event == "cancel":
                self.cancelled.append(payload["id"])

    def say(self, event: str, index: int, **facts: Any) -> None:
        self.emit(event, id=self.asked[index]["id"], **facts)

    def emit(self, event: str, **payload: Any) -> None:
        self._socket.send("42" + json.dumps([event, payload]))

    def finish(self, index: int, text: str, ending: str = "reached the length") -> None:
        report = f"2 tokens · 12 tok/s · seed 7 · {ending}"
        self.say("done", index, text=text, seed=7, report=report, unread="")


def wait_for(page: Page, asked: list[dict[str, Any]], count: int) -> None:
    for _ in range(200):
        if len(asked) == count:
            return
        page.evaluate("() => new Promise(requestAnimationFrame)")
    raise AssertionError(f"{len(asked)} were asked for, not {count}")
