"""Posting to a webhook that really listens: what is sent, repeated, given up, and never shown."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.notify.hook import PATIENCE_SECONDS, SECRET, Hook, Request, listening, status
from trainer.notify import hook_address
from trainer.notify.webhook import deliver

AT_ONCE = (0.0, 0.0, 0.0)
MESSAGE = '{"name":"Übung ☃"}'.encode()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with listening() as made:
        yield made


def test_a_message_is_posted_as_json_in_utf_8(hook: Hook) -> None:
    delivery = deliver(hook.url, MESSAGE)
    assert (delivery.answer.taken, delivery.answer.words, delivery.attempts) == (
        True,
        "HTTP 204",
        1,
    )
    assert hook.messages == [{"name": "Übung ☃"}]
    assert hook.headers[0]["Content-Type"] == "application/json; charset=utf-8"


def test_name_and_password_go_as_a_header(hook: Hook) -> None:
    deliver(hook.url.replace("//", "//me:p%40ss@"), MESSAGE)
    assert hook.headers[0]["Authorization"] == "Basic bWU6cEBzcw=="


@pytest.mark.parametrize("first", [500, 503, 429])
def test_what_may_pass_is_tried_again(hook: Hook, first: int) -> None:
    hook.answers = [status(first), status(first), status(200)]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=AT_ONCE)
    assert (delivery.answer.words, delivery.attempts) == ("HTTP 200", 3)
    assert len(hook.messages) == 3


def test_it_is_given_up_in_the_end(hook: Hook) -> None:
    hook.answers = [status(500)]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=AT_ONCE)
    assert (delivery.answer.taken, delivery.attempts, len(hook.messages)) == (False, 4, 4)


def test_a_refusal_is_not_repeated(hook: Hook) -> None:
    hook.answers = [status(404)]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=AT_ONCE)
    assert (delivery.answer.words, delivery.attempts) == ("HTTP 404", 1)


@pytest.mark.parametrize("number", [301, 302, 307])
def test_a_redirect_is_not_followed(hook: Hook, number: int) -> None:
    hook.answers = [status(number, Location=hook.url)]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=AT_ONCE)
    assert delivery.answer.words == f"HTTP {number} (a redirect, which is not followed)"
    assert len(hook.messages) == 1


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # Bound, and nobody listens: every attempt is refused.
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/{SECRET}"
        delivery = deliver(url, MESSAGE, pauses_seconds=AT_ONCE)
    assert (delivery.answer.words, delivery.attempts) == ("Connection refused", 4)


def test_an_answer_that_does_not_come_is_not_waited_for(hook: Hook) -> None:
    hook.answers = [hook.hang]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=(), attempt_seconds=0.05)
    assert delivery.answer.words == "no answer within 0.05 s"
    assert hook.answered == 0


def test_an_endless_answer_is_not_read(hook: Hook) -> None:
    given_up = threading.Event()

    def pour(request: Request) -> None:
        request.say(200)
        try:
            while True:
                request.wfile.write(b"x" * 65536)
        except OSError:
            given_up.set()

    hook.answers = [pour]
    assert deliver(hook.url, MESSAGE).answer.taken
    assert given_up.wait(PATIENCE_SECONDS)


def test_what_answers_may_not_be_http(hook: Hook) -> None:
    def greet(request: Request) -> None:
        request.wfile.write(b"SSH-2.0-x\r\n")

    hook.answers = [greet]
    delivery = deliver(hook.url, MESSAGE, pauses_seconds=())
    assert delivery.answer.words == "what answered does not speak HTTP"


# ---------------------------------------------------------------------- the address


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/services/T0/s3cret?key=s3cret#s3cret", "hooks.example.org"),
        ("https://s3cret:s3cret@example.org:8443/s3cret", "example.org:8443"),
        ("https://[::1]:9/s3cret", "[::1]:9"),
    ],
)
def test_an_address_is_shown_without_its_secret(url: str, shown: str) -> None:
    assert hook_address.masked(url) == f"https://{shown}/…"


@pytest.mark.parametrize("url", ["s3cret", "https://[s3cret", "https://h:s3cret/", "mailto:s3cret"])
def test_what_is_no_address_is_not_shown_at_all(url: str) -> None:
    assert hook_address.masked(url) == "…"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/s3cret",
        "file:///s3cret",
        "https:///s3cret",
        "https://exa mple.org/s3cret",
        "https://example.org/s3crét",
        "https://example.org/s3cret\r\nHost: elsewhere",
        "https://example.org:s3cret/",
        "https://example.org/…",
    ],
)
def test_nothing_is_posted_to_what_is_no_address(url: str) -> None:
    wrong = hook_address.problem(url)
    assert wrong is not None
    assert "s3cret" not in wrong
    assert deliver(url, MESSAGE).attempts == 0


def test_the_address_of_a_template_is_taken() -> None:
    assert hook_address.problem("https://ntfy.sh/my-topic?tpl=1&m=%7B%7B.text%7D%7D") is None
