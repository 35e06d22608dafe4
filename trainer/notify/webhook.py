"""Posting one JSON message to a webhook, with time-outs and retries, in bounded time."""

from __future__ import annotations

import base64
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from trainer import __version__
from trainer.notify import hook_address

CONNECT_SECONDS = 5.0
"""How long a connection, and each piece of an answer, may take."""

ATTEMPT_SECONDS = 10.0
"""How long one attempt may take in all, whatever the other side does."""

PAUSES_SECONDS = (1.0, 5.0, 20.0)
"""Before the second, third and fourth attempt."""

_TOO_MANY_REQUESTS = 429


@dataclass(frozen=True)
class Answer:
    """What came of one attempt: the HTTP status, or None when there was none."""

    status: int | None
    words: str

    @property
    def taken(self) -> bool:
        """Whether the other side has taken the message."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def worth_repeating(self) -> bool:
        """Whether another attempt may fare better: it is no refusal."""
        return self.status is None or self.status >= 500 or self.status == _TOO_MANY_REQUESTS


@dataclass(frozen=True)
class Delivery:
    """How it ended: the last answer, and after how many attempts."""

    answer: Answer
    attempts: int

    @property
    def words(self) -> str:
        """Say what came of it, without the address."""
        tries = "" if self.attempts == 1 else f" at attempt {self.attempts}"
        return f"{self.answer.words}{tries}"


def deliver(
    url: str,
    message: bytes,
    *,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
    attempt_seconds: float = ATTEMPT_SECONDS,
) -> Delivery:
    """Post a message until it is taken or refused, or no attempt is left.

    Takes at most all pauses and as many attempts and one more. Redirects are not followed, and an
    answer's body is not read.

    Args:
        message: JSON in UTF-8.
    """
    wrong = hook_address.problem(url)
    if wrong is not None:
        return Delivery(Answer(None, f"The address {wrong}"), 0)
    answer = _attempt(url, message, attempt_seconds)
    for done, pause in enumerate(pauses_seconds, start=1):
        if answer.taken or not answer.worth_repeating:
            return Delivery(answer, done)
        time.sleep(pause)
        answer = _attempt(url, message, attempt_seconds)
    return Delivery(answer, len(pauses_seconds) + 1)


def _attempt(url: str, message: bytes, seconds: float) -> Answer:
    """Post once, and wait no longer than that.

    A time-out of the socket alone would let a name server, or an answer that comes byte by byte,
    take for ever. Nobody waits for a thread that is given up.
    """
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    post = threading.Thread(target=lambda: answers.put(_post(url, message)), daemon=True)
    post.start()
    try:
        return answers.get(timeout=seconds)
    except queue.Empty:
        return Answer(None, f"no answer within {seconds:g} s")


def _post(url: str, message: bytes) -> Answer:
    """Post once; no error's text may hold the address."""
    try:
        with _opener().open(_request(url, message), timeout=CONNECT_SECONDS) as response:
            return Answer(response.status, f"HTTP {response.status}")
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _refusal_words(error.code))
    except urllib.error.URLError as error:
        return Answer(None, _reason(error.reason))
    except OSError as error:
        return Answer(None, _reason(error))
    except (http.client.HTTPException, ValueError):
        return Answer(None, "what answered does not speak HTTP")


def _request(url: str, message: bytes) -> urllib.request.Request:
    """Make the request; a name and password in the address become a header."""
    parts = urlsplit(url)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": f"llm-trainer/{__version__}",
    }
    if parts.username is not None:
        name, password = unquote(parts.username), unquote(parts.password or "")
        known = base64.b64encode(f"{name}:{password}".encode()).decode()
        headers["Authorization"] = f"Basic {known}"
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(bare, data=message, headers=headers, method="POST")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Take a redirect as the answer."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirects)


def _refusal_words(status: int) -> str:
    redirect = " (a redirect, which is not followed)" if 300 <= status < 400 else ""
    return f"HTTP {status}{redirect}"


def _reason(error: str | BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:g} s"
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
