"""The playground's events: text that streams to the page as it is written, and stops at once.

Each request carries an ``id`` of the client's own, by which all that follows is named:

* ``generate {"id", "run_id", "checkpoint", …}`` with the settings of
  :class:`trainer.inference.request.GenerationSettings`: answered by ``token {"id", "row", "text",
  "tokens"}`` and, where asked for, its ``logprobs``, one a token added; at the end by ``done``.
* ``score {"id", "run_id", "checkpoint", "text", "alternatives"}``: by ``progress`` and ``done``.
* ``warm {"id", "run_id", "checkpoint"}``, to have a model ready: by ``done``.
* ``cancel {"id"}`` ends any of them.

``done`` has what :mod:`trainer.inference.protocol` tells at the end, but for what the tokens have
told, and the same in words: of a text ``report`` and ``unread``, of a score ``figures``. ``failed
{"id", "error"}`` comes in its place; of a text that was begun it has ``seed`` and ``report`` too. A
client that leaves cancels what it began.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, TypeVar

import msgspec
from flask_socketio import SocketIO

from trainer.errors import ConflictError, TrainerError
from trainer.inference.protocol import Event
from trainer.inference.request import MAX_LOGPROBS, GenerationSettings
from trainer.inference.telling import (
    broken_off_words,
    report_words,
    score_figures,
    unread_prompt_words,
)
from webapp.errors import InvalidFieldError, error_body
from webapp.payloads import converted
from webapp.score_form import MOST_SCORED_CHARACTERS
from webapp.sockets import MAX_BACKLOG_MESSAGES, Outlet, answer_event
from webapp.writing import Writers, Writing
from webapp.writing_form import generation_settings

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | int
Scored = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_SCORED_CHARACTERS)]
Alternatives = Annotated[int, msgspec.Meta(ge=0, le=MAX_LOGPROBS)]
T = TypeVar("T")
Begin = Callable[[str, str], Writing]
Told = Callable[[Event], Event]


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request is called, and which model it is for."""

    id: Id
    run_id: str
    checkpoint: str | None = None


class ScoreRequest(Target, frozen=True, kw_only=True):
    """The payload of ``score``."""

    text: Scored
    alternatives: Alternatives = 0


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of ``cancel``."""

    id: Id


class Playground:
    """What pages have asked of the models and is under way."""

    def __init__(self, writers: Writers, outlet: Outlet) -> None:
        self._writers = writers
        self._outlet = outlet
        self._lock = threading.Lock()
        self._writings: dict[tuple[str, Id], Writing] = {}

    def generate(self, client: str, payload: Any) -> None:
        """Begin a text; its events come from a thread of its own.

        Raises:
            TrainerError: it cannot begin, in the words of what is wrong.
        """
        target, settings = read_request(payload)
        begin = self._writers.begin
        self._start(
            client,
            target,
            lambda run_id, name: begin(client, run_id, name, settings),
            told_of_text,
        )

    def score(self, client: str, payload: Any) -> None:
        """Begin to score a text; its events come from a thread of its own.

        Raises:
            TrainerError: it cannot begin, in the words of what is wrong.
        """
        wanted = _read(payload, ScoreRequest)
        refuse_broken(wanted.text)
        score, asked = self._writers.score, (wanted.text, wanted.alternatives)
        self._start(
            client,
            wanted,
            lambda run_id, name: score(client, run_id, name, *asked),
            told_of_score,
        )

    def warm(self, client: str, payload: Any) -> None:
        """Begin to have a model ready; that it is comes from a thread of its own.

        Raises:
            TrainerError: it cannot begin, in the words of what is wrong.
        """
        warm = self._writers.warm
        self._start(
            client, _read(payload, Target), lambda run_id, name: warm(client, run_id, name), dict
        )

    def cancel(self, client: str, text_id: Id) -> None:
        """End a text; what came of it stays. One that has ended already is no mistake."""
        writing = self._writings.get((client, text_id))
        if writing is not None:
            writing.cancel()

    def leave(self, client: str) -> None:
        """End all that a client has asked for."""
        with self._lock:
            mine = [writing for key, writing in self._writings.items() if key[0] == client]
        for writing in mine:
            writing.cancel()

    def _start(self, client: str, target: Target, begin: Begin, told: Told) -> None:
        key = client, target.id
        if key in self._writings:
            raise ConflictError(f"A text with the id '{target.id}' is being written already.")
        writing = begin(target.run_id, target.checkpoint or "latest")
        with self._lock:
            self._writings[key] = writing
        post = Post(self._outlet, client, target.id, told)
        threading.Thread(
            target=self._stream, args=[key, writing, post], name="writing", daemon=True
        ).start()

    def _stream(self, key: tuple[str, Id], writing: Writing, post: Post) -> None:
        try:
            with writing:
                for event in writing:
                    if post.has_left:
                        writing.cancel()
                    else:
                        post.take(event)
        except TrainerError as error:
            post.fail(error, writing.seed)
        finally:
            with self._lock:
                self._writings.pop(key, None)


class Post:
    """Sends one client what comes of one request.

    A client that does not keep up gets several tokens in one message, and no report of progress.

    Args:
        told: makes what the client is told at the end of the last event.
    """

    def __init__(self, outlet: Outlet, client: str, text_id: Id, told: Told) -> None:
        self._outlet = outlet
        self._client = client
        self._id = text_id
        self._told = told
        self._held: dict[int, Event] = {}
        self._tokens = 0

    @property
    def has_left(self) -> bool:
        """Whether nobody is there any more to take it."""
        return self._outlet.backlog(self._client) is None

    def take(self, event: Event) -> None:
        """Pass an event on, or keep it until the client has taken what it was sent."""
        kind = event["type"]
        if kind == "token":
            self._tokens = max(self._tokens, event["tokens"])
            self._hold(event)
            if self._keeps_up():
                self._let_go()
        elif kind == "done":
            self._let_go()
            self.send("done", self._told(event))
        elif self._keeps_up():
            self.send(kind, event)

    def fail(self, error: TrainerError, seed: int | None) -> None:
        """Pass on what is held back, then that it failed and what came until then."""
        self._let_go()
        begun = {"seed": seed, "report": broken_off_words(self._tokens, seed)}
        self.send("failed", error_body(error) | (begun if self._tokens else {}))

    def send(self, name: str, facts: Mapping[str, Any]) -> None:
        """Send an event that belongs to the request."""
        told = {key: value for key, value in facts.items() if key != "type"}
        self._outlet.emit(name, told | {"id": self._id}, self._client)

    def _keeps_up(self) -> bool:
        backlog = self._outlet.backlog(self._client)
        return backlog is not None and backlog <= MAX_BACKLOG_MESSAGES

    def _hold(self, event: Event) -> None:
        row = event["row"]
        before = self._held.get(row)
        if before is None:
            self._held[row] = event
            return
        whole = event | {"text": before["text"] + event["text"]}
        if "logprobs" in event:
            whole["logprobs"] = [*before["logprobs"], *event["logprobs"]]
        self._held[row] = whole

    def _let_go(self) -> None:
        for event in self._held.values():
            self.send("token", event)
        self._held.clear()


def told_of_text(done: Event) -> Event:
    """Say of a text what its tokens have not told already, in figures and in words."""
    words = {
        "report": report_words(done, done["tokens_per_second"]),
        "unread": unread_prompt_words(done),
    }
    return _without_likelihoods(done) | words


def told_of_score(done: Event) -> Event:
    """Say of a score what was measured, in figures and in words."""
    return done | {"figures": [asdict(figure) for figure in score_figures(done)]}


def _without_likelihoods(done: Event) -> Event:
    told = {name: value for name, value in done.items() if name != "logprobs"}
    if "continuations" in told:
        told["continuations"] = [_without_likelihoods(one) for one in told["continuations"]]
    return told


def read_request(payload: Any) -> tuple[Target, GenerationSettings]:
    """Read the payload of ``generate``.

    Raises:
        InvalidFieldError: the id or the run is missing or of a wrong type.
        UsageError: a setting is unknown or wrong.
    """
    named = Target.__struct_fields__
    values = _object(payload)
    target = converted({name: values[name] for name in named if name in values}, Target)
    rest = {str(name): value for name, value in values.items() if name not in named}
    return target, generation_settings(rest)


def refuse_broken(text: str) -> None:
    """Refuse a text with half a character of UTF-16 in it, which JSON can carry.

    Raises:
        InvalidFieldError: naming its place.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidFieldError(
            f"The text is not valid Unicode: a lone surrogate at character {error.start}."
        ) from error


def _read(payload: Any, kind: type[T]) -> T:
    return converted(_object(payload), kind)


def _object(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise InvalidFieldError("The request is not an object.", "Send at least id and run_id.")
    return payload


def register(socketio: SocketIO, playground: Playground, outlet: Outlet) -> None:
    """Install the handlers of ``generate``, ``score``, ``warm`` and ``cancel``."""

    def cancel(client: str, payload: Any) -> None:
        playground.cancel(client, converted(payload, Cancel).id)

    def refuse(client: str, payload: Any, error: TrainerError) -> None:
        text_id = payload.get("id") if isinstance(payload, dict) else None
        outlet.emit("failed", {"id": text_id, **error_body(error)}, client)

    for handler in (playground.generate, playground.score, playground.warm, cancel):
        answer_event(socketio, handler.__name__, handler, refuse)
