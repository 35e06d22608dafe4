"""OpenAI's interface as a base model can serve it: models and completions.

A model is named by its run, which means the newest checkpoint, or by ``run_id:checkpoint``;
``latest`` is the newest run. What the trained models cannot do is refused in words, never ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from flask import Blueprint, Response, request

from trainer.errors import TrainerError
from webapp.context import services
from webapp.errors import MediaTypeError
from webapp.jsonio import json_answer
from webapp.openai import models
from webapp.openai.answer import END_OF_STREAM, Completion, sent
from webapp.openai.connection import Connection
from webapp.openai.refusals import InvalidRequestError, refusal_body
from webapp.openai.request import CompletionRequest, read_request, settings_of
from webapp.writing import Writings

openai = Blueprint("openai", __name__, url_prefix="/v1")


@openai.get("/models")
def list_models() -> Response:
    """List the runs that have a checkpoint, and each of their checkpoints."""
    return json_answer({"object": "list", "data": list(models.every_entry(services().store))})


@openai.get("/models/<path:model>")
def get_model(model: str) -> Response:
    """Describe one model."""
    return json_answer(models.entry(services().store, model))


@openai.post("/completions")
def complete() -> Response:
    """Continue prompts; with ``stream`` as server-sent events that end with ``[DONE]``."""
    wanted = read_request(_json_sent())
    model = models.find(services().store, wanted.model)
    writings = services().writers.begin_several(
        _client(wanted), model.run_id, model.checkpoint or models.NEWEST, settings_of(wanted)
    )
    connection = Connection(request.environ)
    answer = Completion(wanted, model.name)
    if wanted.stream:
        return _streamed(answer, writings, connection)
    with writings:
        return json_answer(answer.whole(connection.while_there(iter(writings))))


@openai.post("/chat/completions")
def chat() -> Response:
    """Refuse: there is no chat model here."""
    raise InvalidRequestError(
        "These are base models: they continue a text and hold no conversation.",
        "model",
        "unsupported_model",
        "Send the text to continue as 'prompt' to POST /v1/completions.",
    )


def _json_sent() -> bytes:
    """Return the body of the request.

    Raises:
        MediaTypeError: it is not declared as JSON.
    """
    if request.mimetype != "application/json":
        raise MediaTypeError(
            f"The body is '{request.mimetype[:80] or 'of no type'}', not JSON.",
            "Send JSON with the header Content-Type: application/json.",
        )
    return request.get_data(cache=False)


def _client(wanted: CompletionRequest) -> str:
    """Return a name for who asks, for a fair share: any key will do, and is kept nowhere."""
    parts = (request.remote_addr, request.headers.get("Authorization"), wanted.user)
    return "program " + hashlib.sha256(repr(parts).encode()).hexdigest()


def _streamed(answer: Completion, writings: Writings, connection: Connection) -> Response:
    """Begin a stream when its first piece is there: what fails before it has a status of its own.

    Raises:
        TrainerError: the first text cannot be begun.
    """
    pieces = answer.pieces(connection.while_there(iter(writings)))
    with ExitStack() as undone:
        undone.callback(writings.release)
        first = next(pieces)
        undone.pop_all()
    response = Response(
        connection.paced(_to_the_end(first, pieces)),
        mimetype="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )
    # Called also for a client that left before the first piece was sent.
    response.call_on_close(writings.release)
    return response


def _to_the_end(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield all pieces; a failure midway is told as one, as OpenAI does."""
    yield first
    try:
        yield from pieces
    except TrainerError as error:
        yield sent(refusal_body(error))
    yield END_OF_STREAM
