"""The playground's events: text that streams to the page as it is written, and stops at once.

The client emits ``generate {"id", "run_id", "checkpoint", …}`` with the settings of
:class:`trainer.inference.request.GenerationSettings`, and ``cancel {"id"}``; the id is its own. It
receives ``token {"id", "text", "tokens"}``, at the end ``done {"id", …}`` with what
:mod:`trainer.inference.protocol` tells at the end of a generation, or ``failed {"id", "error"}``. A
client that leaves cancels what it began.
"""

from __future__ import annotations

import threading
from typing import Annotated, Any

import msgspec
from flask_socketio import SocketIO

from trainer.errors import ConflictError, TrainerError
from trainer.inference.request import GenerationSettings
from webapp.errors import InvalidFieldError, error_body
from webapp.payloads import converted
from webapp.sockets import MAX_BACKLOG_MESSAGES, Outlet, answer_event
from webapp.writing import Writers, Writing
from webapp.writing_form import generation_settings

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | int


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a ``generate`` is called, and with which model it writes."""

    id: Id
    run_id: str
    checkpoint: str | None = None


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of ``cancel``."""

    id: Id


class Playground:
    """The texts that pages have asked for and that are being written."""

    def __init__(self, writers: Writers, outlet: Outlet) -> None:
        self._writers = writers
        self._outlet = outlet
        self._lock = threading.Lock()
        self._writings: dict[tuple[str, Id], Writing] = {}

    def generate(self, client: str, payload: dict[str, Any]) -> None:
        """Begin a text; its events come from a thread of its own.

        Raises:
            TrainerError: it cannot begin, in the words of what is wrong.
        """
        target, settings = read_request(payload)
        key = client, target.id
        if key in self._writings:
            raise ConflictError(f"A text with the id '{target.id}' is being written already.")
        checkpoint = target.checkpoint or "latest"
        writing = self._writers.begin(client, target.run_id, checkpoint, settings)
        with self._lock:
            self._writings[key] = writing
        threading.Thread(
            target=self._stream, args=[client, target.id, writing], name="writing", daemon=True
        ).start()

    def cancel(self, client: str, text_id: Id) -> None:
        """End a text; what came of it stays. One that has ended already is no mistake."""
        writing = self._writings.get((client, text_id))
        if writing is not None:
            writing.cancel()

    def leave(self, client: str) -> None:
        """End all texts of a client."""
        with self._lock:
            mine = [writing for key, writing in self._writings.items() if key[0] == client]
        for writing in mine:
            writing.cancel()

    def _stream(self, client: str, text_id: Id, writing: Writing) -> None:
        try:
            with writing:
                self._pass_on(client, text_id, writing)
        except TrainerError as error:
            self._outlet.emit("failed", {"id": text_id, **error_body(error)}, client)
        finally:
            with self._lock:
                self._writings.pop((client, text_id), None)

    def _pass_on(self, client: str, text_id: Id, writing: Writing) -> None:
        """Send tokens as they come; to a client that does not keep up, several in one message."""
        held = ""
        for event in writing:
            backlog = self._outlet.backlog(client)
            if backlog is None:
                writing.cancel()
            elif event["type"] == "token":
                held += event["text"]
                if backlog <= MAX_BACKLOG_MESSAGES:
                    told = {"id": text_id, "text": held, "tokens": event["tokens"]}
                    self._outlet.emit("token", told, client)
                    held = ""
            elif event["type"] == "done":
                if held:
                    told = {"id": text_id, "text": held, "tokens": event["tokens"]}
                    self._outlet.emit("token", told, client)
                facts = {name: value for name, value in event.items() if name != "type"}
                self._outlet.emit("done", facts | {"id": text_id}, client)


def read_request(payload: Any) -> tuple[Target, GenerationSettings]:
    """Read the payload of ``generate``.

    Raises:
        InvalidFieldError: the id or the run is missing or of a wrong type.
        UsageError: a setting is unknown or wrong.
    """
    if not isinstance(payload, dict):
        raise InvalidFieldError("The request is not an object.", "Send id, run_id and prompt.")
    named = Target.__struct_fields__
    target = converted({name: payload[name] for name in named if name in payload}, Target)
    rest = {str(name): value for name, value in payload.items() if name not in named}
    return target, generation_settings(rest)


def register(socketio: SocketIO, playground: Playground, outlet: Outlet) -> None:
    """Install the handlers of ``generate`` and ``cancel``."""

    def cancel(client: str, payload: Any) -> None:
        playground.cancel(client, converted(payload, Cancel).id)

    def refuse(client: str, payload: Any, error: TrainerError) -> None:
        text_id = payload.get("id") if isinstance(payload, dict) else None
        outlet.emit("failed", {"id": text_id, **error_body(error)}, client)

    answer_event(socketio, "generate", playground.generate, refuse)
    answer_event(socketio, "cancel", cancel, refuse)
