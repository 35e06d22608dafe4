"""The part of OpenAI's HTTP interface that a base model can serve: models and completions.

A model is named by its run, which means the newest checkpoint, or by ``run_id:checkpoint``. What
the trained models cannot do is refused in words, never ignored.
"""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from flask import Blueprint, Response

from trainer.errors import NotFoundError, TrainerError, UsageError
from trainer.formats import parse_time
from trainer.inference.protocol import Event
from trainer.inference.request import GenerationSettings
from trainer.runs import Run
from webapp.context import services
from webapp.errors import error_body
from webapp.jsonio import json_answer
from webapp.payloads import json_body
from webapp.writing import Writing

openai = Blueprint("openai", __name__)

DEFAULT_MAX_TOKENS = 16
_FINISHED = {"length": "length", "end_of_text": "stop", "stop": "stop", "cancelled": "stop"}


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/completions``; null means the same as leaving a field out."""

    model: str
    prompt: str | list[str] = ""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    echo: bool | None = None
    user: str | None = None
    # Settings of other local servers that these models have too.
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    n: int | None = None
    logprobs: int | None = None
    # Taken at the value that changes nothing.
    best_of: int | None = None
    suffix: str | None = None
    logit_bias: dict[str, float] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "best_of": (None, 1),
    "suffix": (None, ""),
    "logit_bias": (None, {}),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
}


@openai.get("/v1/models")
def list_models() -> Response:
    """List the runs that have a checkpoint, and each of their checkpoints."""
    runs = services().store.list(limit=1000).runs
    return json_answer(
        {"object": "list", "data": [entry for run in runs for entry in _entries(run)]}
    )


def _entries(run: Run) -> list[dict[str, Any]]:
    names = [checkpoint.name for checkpoint in services().store.checkpoints(run.run_id)]
    ids = [run.run_id, *(f"{run.run_id}:{name}" for name in names)] if names else []
    created = int(parse_time(run.state.created_at).timestamp())
    facts = {"object": "model", "created": created, "owned_by": "llm-trainer"}
    return [{"id": model, **facts} for model in ids]


@openai.post("/v1/completions")
def complete() -> Response:
    """Continue a prompt; with ``stream`` as server-sent events that end with ``[DONE]``."""
    wanted = json_body(CompletionRequest)
    check_supported(wanted)
    run_id, _, checkpoint = wanted.model.partition(":")
    # Each request counts for itself: programs on one machine cannot be told apart.
    client = f"request {secrets.token_hex(8)}"
    writing = services().writers.begin(
        client, run_id, checkpoint or "latest", generation_settings(wanted)
    )
    answer = Completion(wanted)
    if not wanted.stream:
        with writing:
            return json_answer(answer.whole(writing))
    response = Response(answer.pieces(writing), mimetype="text/event-stream")
    # Called also for a client that left before the first piece was asked for.
    response.call_on_close(writing.release)
    return response


@openai.post("/v1/chat/completions")
def chat() -> Response:
    """Refuse: there is no chat model here."""
    raise UsageError(
        "These are base models: they continue a text and hold no conversation.",
        "Send the text to continue as 'prompt' to POST /v1/completions.",
    )


@openai.get("/v1/models/<path:model>")
def get_model(model: str) -> Response:
    """Describe one model."""
    run_id, _, checkpoint = model.partition(":")
    run = services().store.get(run_id)
    services().store.checkpoint_path(run_id, checkpoint or "latest")
    found = [entry for entry in _entries(run) if entry["id"] == model]
    if not found:
        raise NotFoundError(f"There is no model '{model[:80]}'.", "See GET /v1/models.")
    return json_answer(found[0])


def check_supported(wanted: CompletionRequest) -> None:
    """Refuse what the models cannot do.

    Raises:
        UsageError: naming the field.
    """
    for field, harmless in _NEUTRAL.items():
        value = getattr(wanted, field)
        if value not in harmless:
            raise UsageError(f"'{field}' = {value!r} is not supported.", f"Leave out '{field}'.")
    if isinstance(wanted.prompt, list) and len(wanted.prompt) != 1:
        raise UsageError("'prompt' holds several texts.", "Send one prompt in each request.")
    if wanted.stream and (wanted.n or 1) > 1:
        raise UsageError(f"'n' = {wanted.n} texts cannot be streamed.", "Leave out 'stream'.")
    if wanted.echo and wanted.logprobs is not None:
        raise UsageError(
            "'logprobs' are told of written tokens only, not of an echoed prompt.",
            "Leave out 'echo'.",
        )


def prompt_of(wanted: CompletionRequest) -> str:
    """Return the one prompt, which may come as a list of one."""
    return wanted.prompt if isinstance(wanted.prompt, str) else wanted.prompt[0]


def generation_settings(wanted: CompletionRequest) -> GenerationSettings:
    """Turn a request into the settings of a generation, with OpenAI's defaults.

    Raises:
        UsageError: a value is out of range.
    """
    stop = [wanted.stop] if isinstance(wanted.stop, str) else wanted.stop or []
    tokens = DEFAULT_MAX_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    return GenerationSettings(
        prompt=prompt_of(wanted),
        max_new_tokens=tokens,
        temperature=1.0 if wanted.temperature is None else wanted.temperature,
        top_k=wanted.top_k,
        top_p=wanted.top_p,
        min_p=wanted.min_p,
        repetition_penalty=wanted.repetition_penalty,
        seed=wanted.seed,
        stop=tuple(stop),
        n=1 if wanted.n is None else wanted.n,
        logprobs=wanted.logprobs,
    ).validate()


class Completion:
    """The answer to one request, whole or in pieces."""

    def __init__(self, wanted: CompletionRequest) -> None:
        self._wanted = wanted
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._echoed = prompt_of(wanted) if wanted.echo else ""
        self._streamed = TokenLog(len(prompt_of(wanted)))

    def whole(self, writing: Writing) -> dict[str, Any]:
        """Wait for the end and return the answer.

        Raises:
            TrainerError: the text cannot be written.
        """
        done = writing.finish()
        texts = done.get("continuations", [done])
        return self._body([self._choice(index, told) for index, told in enumerate(texts)]) | {
            "usage": _usage(done)
        }

    def _choice(self, index: int, told: Event) -> dict[str, Any]:
        return {
            "index": index,
            "text": self._echoed + told["text"],
            "logprobs": TokenLog(len(prompt_of(self._wanted))).add(told.get("logprobs")),
            "finish_reason": _FINISHED[told["finish_reason"]],
        }

    def pieces(self, writing: Writing) -> Iterator[bytes]:
        """Yield server-sent events; a failure midway is told as one, and ends the stream."""
        try:
            if self._echoed:
                yield self._part(self._echoed)
            for event in writing:
                yield from self._piece(event)
        except TrainerError as error:
            yield _sent(error_body(error))
        yield b"data: [DONE]\n\n"

    def _piece(self, event: Event) -> Iterator[bytes]:
        if event["type"] == "token":
            yield self._part(event["text"], self._streamed.add(event.get("logprobs")))
        elif event["type"] == "done":
            yield self._part("", finish_reason=_FINISHED[event["finish_reason"]])
            if (self._wanted.stream_options or {}).get("include_usage"):
                yield _sent(self._body([]) | {"usage": _usage(event)})

    def _part(
        self,
        text: str,
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish_reason}
        return _sent(self._body([choice]))

    def _body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._wanted.model,
            "choices": choices,
        }


class TokenLog:
    """How likely the tokens of a text were, in the shape of the completions interface.

    Args:
        offset: characters before the text; a token begins where the ones before it end.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, told: list[Event] | None) -> dict[str, Any] | None:
        """Return the likelihoods of further tokens; None where none were asked for."""
        if told is None:
            return None
        return {
            "tokens": [one["token"] for one in told],
            "token_logprobs": [one["logprob"] for one in told],
            "top_logprobs": [{top["token"]: top["logprob"] for top in one["top"]} for one in told],
            "text_offset": [self._begin(bytes(one["bytes"])) for one in told],
        }

    def _begin(self, data: bytes) -> int:
        begin = self._offset
        self._offset += len(self._decoder.decode(data))
        return begin


def _sent(data: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _usage(done: Event) -> dict[str, int]:
    written = sum(told["tokens"] for told in done.get("continuations", [done]))
    read = done["prompt_tokens"]
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }
