"""What can be asked of a model that writes: the settings of one generation, checked in words."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from trainer.errors import UsageError

FinishReason = Literal["length", "end_of_text", "stop", "cancelled"]

MAX_NEW_TOKENS = 100_000
MAX_PROMPT_CHARACTERS = 2**22
MAX_STOP_TEXTS = 16
MAX_SEED = 2**63 - 1
MAX_CONTINUATIONS = 32
MAX_LOGPROBS = 20


class GenerationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to continue a prompt.

    Args:
        prompt: the text to continue; empty begins a new text. Of one that is longer than the
            model's context, the end is read.
        max_new_tokens: most tokens to write.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: keep only the k likeliest tokens; more than there are limit nothing.
        top_p: keep the likeliest tokens that together have this probability.
        min_p: drop the tokens below this share of the likeliest one's probability.
        repetition_penalty: divides the logits of tokens seen already; above 1 repeats less.
        seed: of the random choices; None draws one.
        stop: texts at which to end; they are not part of the answer.
        n: continuations to write of the one prompt, each with its own :func:`row_seed`.
        logprobs: tell of each token the natural logarithm of its probability, and the same of
            so many likeliest tokens. It is the model's own probability, before penalty,
            temperature and what they leave out. None: tell nothing.
    """

    prompt: str = ""
    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: int | None = None

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> GenerationSettings:
        """Build from values given by a person or a program, and check them.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        unknown = [name for name in values if name not in cls.__struct_fields__]
        if unknown:
            raise UsageError(
                f"There is no generation setting '{str(unknown[0])[:80]}'.",
                f"There are: {', '.join(cls.__struct_fields__)}.",
            )
        stop = values.get("stop", ())
        if isinstance(stop, list):
            values = {**values, "stop": tuple(stop)}
        return cls(**values).validate()

    def validate(self) -> GenerationSettings:
        """Return the settings themselves if each value can be used.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        problems = [problem for problem in self._problems() if problem]
        if problems:
            raise UsageError(" ".join(problems), "See 'llm-trainer generate --help'.")
        return self

    def with_seed(self) -> GenerationSettings:
        """Return settings whose seed is known, so that the answer can be had again."""
        if self.seed is not None:
            return self
        return msgspec.structs.replace(self, seed=secrets.randbelow(2**31))

    def _problems(self) -> list[str | None]:
        return [
            _text("prompt", self.prompt, MAX_PROMPT_CHARACTERS),
            _whole("max_new_tokens", self.max_new_tokens, 1, MAX_NEW_TOKENS),
            _number("temperature", self.temperature, "a number of 0 or more", lambda v: v >= 0),
            _optional(_whole, "top_k", self.top_k, 1, None),
            _share("top_p", self.top_p),
            _share("min_p", self.min_p),
            _optional(
                _number,
                "repetition_penalty",
                self.repetition_penalty,
                "a number above 0",
                lambda v: v > 0,
            ),
            _optional(_whole, "seed", self.seed, 0, MAX_SEED),
            _stop_texts(self.stop),
            _whole("n", self.n, 1, MAX_CONTINUATIONS),
            _optional(_whole, "logprobs", self.logprobs, 0, MAX_LOGPROBS),
        ]


def row_seed(seed: int, row: int) -> int:
    """Return the seed of one of several continuations, counted from 0: the next whole number each.

    A single continuation with that seed is that row again.
    """
    return (seed + row) % (MAX_SEED + 1)


def _optional(check: Any, name: str, value: Any, *limits: Any) -> str | None:
    return None if value is None else check(name, value, *limits)


def _whole(name: str, value: Any, least: int, most: int | None) -> str | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and value >= least and (most is None or value <= most):
        return None
    allowed = f"from {least} to {most}" if most is not None else f"of {least} or more"
    return _wrong(name, value, f"a whole number {allowed}")


def _number(name: str, value: Any, allowed: str, fits: Any) -> str | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and math.isfinite(value) and fits(value):
        return None
    return _wrong(name, value, allowed)


def _share(name: str, value: Any) -> str | None:
    allowed = "a number above 0 and up to 1"
    return _optional(_number, name, value, allowed, lambda v: 0 < v <= 1)


def _text(name: str, value: Any, most: int) -> str | None:
    if not isinstance(value, str):
        return _wrong(name, value, "text")
    if len(value) > most:
        return f"{name} is {len(value):,} characters long: at most {most:,} are allowed."
    return _not_unicode(name, value)


def _not_unicode(name: str, text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"{name} is not valid Unicode: a lone surrogate at character {error.start}."
    return None


def _stop_texts(value: Any) -> str | None:
    texts = isinstance(value, tuple) and all(isinstance(text, str) and text for text in value)
    if texts and len(value) <= MAX_STOP_TEXTS:
        return next(filter(None, (_not_unicode("stop", text) for text in value)), None)
    return _wrong("stop", value, f"a list of at most {MAX_STOP_TEXTS} texts that are not empty")


def _wrong(name: str, value: Any, allowed: str) -> str:
    shown = repr(value)
    return f"{name} = {shown if len(shown) <= 60 else shown[:57] + '...'} is not {allowed}."
