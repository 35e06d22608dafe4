"""Answers made of files that stand still: kept for the next who asks, and told to be known."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import msgspec
from flask import Response, request

from trainer import __version__

MOST_BYTES = 16 * 1024 * 1024
SETTLED_SECONDS = 1.0
"""A file that changed this recently may change again under the same time stamp."""

Stamps = tuple[int, ...]
"""Time stamps in nanoseconds and sizes in bytes, in turn, of the files an answer is made of."""


class AnswerCache:
    """The newest answers as they were sent, bounded by what they weigh."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, tag: str, make: Callable[[], bytes]) -> bytes:
        """Return the answer of a tag, made now unless it is kept."""
        with self._lock:
            known = self._kept.get(tag)
            if known is not None:
                self._kept.move_to_end(tag)
                return known
        made = make()
        with self._lock:
            self._weight += len(made) - len(self._kept.pop(tag, b""))
            self._kept[tag] = made
            while self._weight > self._most_bytes:
                self._weight -= len(self._kept.popitem(last=False)[1])
        return made

    def answer(self, stamps: Stamps, question: Hashable, make: Callable[[], Any]) -> Response:
        """Answer the current request with JSON, or with 304 when the client has it already.

        Args:
            stamps: of the files as they were before ``make`` reads them.
            question: what was asked; with the stamps it decides the answer.
        """
        if not settled(stamps):
            return Response(msgspec.json.encode(make()), mimetype="application/json")
        tag = hashlib.blake2b(
            repr((__version__, stamps, question)).encode(), digest_size=12
        ).hexdigest()
        if tag in request.if_none_match:
            response = Response(status=304)
        else:
            body = self.get(tag, lambda: msgspec.json.encode(make()))
            response = Response(body, mimetype="application/json")
        response.set_etag(tag)
        response.headers["Cache-Control"] = "private, no-cache"
        return response


def settled(stamps: Stamps) -> bool:
    """Say whether the files cannot change again under the same stamps."""
    return time.time() - max(stamps[0::2], default=0) / 1e9 > SETTLED_SECONDS
