"""What a program may ask of ``POST /v1/completions``, checked field by field."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from trainer.inference.request import (
    MAX_CONTINUATIONS,
    MAX_LOGPROBS,
    MAX_NEW_TOKENS,
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    MAX_STOP_TEXTS,
    GenerationSettings,
)
from webapp.openai.refusals import InvalidRequestError
from webapp.payloads import FieldProblem, field_problem

DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 1024

_TokenId = Annotated[int, Meta(ge=0, lt=2**31)]
_Text = Annotated[str, Meta(max_length=MAX_PROMPT_CHARACTERS)]
_TokenIds = Annotated[list[_TokenId], Meta(max_length=MAX_PROMPT_CHARACTERS)]
_StopText = Annotated[str, Meta(min_length=1)]
_StopTexts = Annotated[list[_StopText], Meta(max_length=MAX_STOP_TEXTS)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=1, le=MAX_CONTINUATIONS)]

Prompt = str | list[int]


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream tells besides the text."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``POST /v1/completions``; null means the same as leaving a field out.

    ``top_k``, ``min_p`` and ``repetition_penalty`` are settings of other local servers that these
    models have too.
    """

    model: str
    prompt: _Text | list[_Text | _TokenId | _TokenIds] | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=MAX_NEW_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: _Share | None = None
    n: _Count | None = None
    best_of: _Count | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: _StopText | _StopTexts | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    user: str | None = None
    suffix: str | None = None
    top_k: Annotated[int, Meta(ge=-1, lt=2**31)] | None = None
    min_p: _Share | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=1e6)] | None = None

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts: texts, or the ids of tokens."""
        given: Any = self.prompt or ""
        one = isinstance(given, str) or isinstance(given[0], int)
        return [given] if one else given

    @property
    def choices_each(self) -> int:
        """How many texts are answered to each prompt."""
        return self.n or 1

    @property
    def rows(self) -> int:
        """How many texts are written of each prompt; the best of them are answered."""
        return self.best_of or self.choices_each

    @property
    def echoes_tokens(self) -> bool:
        """Whether an answer needs the tokens of its prompt, which the model's process knows."""
        ids = not isinstance(self.prompts[0], str)
        return bool(self.echo) and (ids or self.logprobs is not None)


_decoder = msgspec.json.Decoder(CompletionRequest)


def read_request(body: bytes) -> CompletionRequest:
    """Read and check a request.

    Raises:
        InvalidRequestError: it is not JSON, or a field is wrong; it says which.
    """
    try:
        wanted = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _wrong_field(field_problem(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"The body of the request is not valid JSON: {error}.", code="invalid_json"
        ) from error
    check(wanted)
    return wanted


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}


def _wrong_field(found: FieldProblem) -> InvalidRequestError:
    place = found.place.replace("[...]", "")
    if found.kind == "unknown":
        message = f"Unrecognized request argument supplied: {place}."
        return InvalidRequestError(message, place, "unknown_parameter")
    if found.kind == "missing":
        message = f"Missing required parameter: '{place}'."
        return InvalidRequestError(message, place, "missing_required_parameter")
    subject = f"'{place}'" if place else "The request"
    code = "invalid_type" if ", got " in found.problem else "invalid_value"
    return InvalidRequestError(f"{subject} is wrong: {_in_words(found)}.", place or None, code)


def _in_words(found: FieldProblem) -> str:
    """Name the types of JSON as people do, and leave null out: it may stand anywhere."""
    expected, given, got = found.problem.partition(", got ")
    named = [_WORDS.get(word, word) for word in expected.replace(" | null", "").split(" ")]
    return " ".join(named) + given + _WORDS.get(got, got)


def check(wanted: CompletionRequest) -> None:
    """Check what concerns several fields, or more than a field's type.

    Raises:
        InvalidRequestError: naming the field.
    """
    _check_prompts(wanted)
    _check_bias(wanted.logit_bias or {})
    if wanted.suffix:
        raise _unsupported("suffix", "These models continue a text; they fill no gap in one.")
    if wanted.stream_options is not None and not wanted.stream:
        raise _unsupported("stream_options", "It is only allowed with 'stream': true.")
    if wanted.rows < wanted.choices_each:
        raise InvalidRequestError(
            f"'best_of' = {wanted.rows} is less than 'n' = {wanted.choices_each}.", "best_of"
        )
    if wanted.stream and wanted.rows > wanted.choices_each:
        raise _unsupported("best_of", "Which text is best is known at its end: leave out 'stream'.")


def _unsupported(param: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"'{param}' is not supported here. {why}", param, "unsupported_value"
    )


def _check_prompts(wanted: CompletionRequest) -> None:
    if len({type(part) for part in wanted.prompt or [] if not isinstance(wanted.prompt, str)}) > 1:
        raise InvalidRequestError(
            "'prompt' mixes texts, ids of tokens and lists of ids. Send one kind.",
            "prompt",
            "invalid_type",
        )
    if len(wanted.prompts) > MAX_PROMPTS:
        raise InvalidRequestError(
            f"'prompt' holds {len(wanted.prompts):,} prompts: at most {MAX_PROMPTS:,} are allowed.",
            "prompt",
        )
    if [] in wanted.prompts:
        raise InvalidRequestError(
            "'prompt' holds an empty list of token ids. Leave 'prompt' out for a new text.",
            "prompt",
        )


def _check_bias(bias: dict[str, float]) -> None:
    for name in bias:
        if not (name.isascii() and name.isdigit() and int(name[:12]) < 2**31):
            raise InvalidRequestError(
                f"'logit_bias' names '{name[:40]}', which is not the id of a token.", "logit_bias"
            )


# ---------------------------------------------------------------------- for the model


def settings_of(wanted: CompletionRequest) -> list[GenerationSettings]:
    """Return the settings of a generation for each prompt, with OpenAI's defaults."""
    return [_settings(wanted, prompt) for prompt in wanted.prompts]


def _settings(wanted: CompletionRequest, prompt: Prompt) -> GenerationSettings:
    most = DEFAULT_MAX_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    reads_only = most == 0
    ranked = wanted.rows > wanted.choices_each
    told = wanted.logprobs
    return GenerationSettings(
        prompt=prompt if isinstance(prompt, str) else "",
        prompt_tokens=None if isinstance(prompt, str) else tuple(prompt),
        max_new_tokens=most,
        temperature=1.0 if wanted.temperature is None else wanted.temperature,
        top_k=wanted.top_k if (wanted.top_k or 0) > 0 else None,
        # A share of nothing keeps the likeliest token.
        top_p=None if wanted.top_p is None else max(wanted.top_p, sys.float_info.min),
        min_p=wanted.min_p or None,
        repetition_penalty=wanted.repetition_penalty,
        presence_penalty=wanted.presence_penalty or None,
        frequency_penalty=wanted.frequency_penalty or None,
        logit_bias={int(name): bias for name, bias in (wanted.logit_bias or {}).items()} or None,
        seed=None if wanted.seed is None else wanted.seed & MAX_SEED,
        stop=_stop_texts(wanted.stop),
        n=1 if reads_only else wanted.rows,
        logprobs=0 if told is None and (reads_only or ranked or wanted.echoes_tokens) else told,
        prompt_logprobs=reads_only or wanted.echoes_tokens,
    )


def _stop_texts(stop: str | Sequence[str] | None) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop or ())
