"""What can be asked of a model that writes: the settings of one generation, checked in words."""

from __future__ import annotations

import math
import secrets
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from trainer.errors import UsageError

FinishReason = Literal["length", "end_of_text", "stop", "cancelled"]

MAX_NEW_TOKENS = 100_000
MAX_PROMPT_CHARACTERS = 2**22
MAX_SCORED_CHARACTERS = 2**20
MAX_STOP_TEXTS = 16
MAX_SEED = 2**63 - 1
MAX_CONTINUATIONS = 32
MAX_LOGPROBS = 20
MAX_PENALTY = 2
MAX_BIAS = 100
MAX_BIASES = 1024
MAX_ID = 2**31 - 1
_ID_DIGITS = 10
_AS_HERE: Mapping[str, str] = MappingProxyType({})


class GenerationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to continue a prompt.

    Args:
        prompt: the text to continue; empty begins a new text. Of one that is longer than the
            model's context, the end is read.
        prompt_tokens: the prompt as ids of the model's vocabulary, in place of a text.
        max_new_tokens: most tokens to write; 0 where only the prompt's own likelihoods are wanted.
        temperature: divides the logits; 0 always takes the likeliest token.
        top_k: keep only the k likeliest tokens; 0, or more than there are, limits nothing.
        top_p: keep the likeliest tokens that together have this probability; 1 keeps all.
        min_p: drop the tokens below this share of the likeliest one's probability; 0 keeps all.
        repetition_penalty: divides the logits of tokens seen already, in the prompt too; above 1
            repeats less.
        presence_penalty: taken from the logit of each token that was written already.
        frequency_penalty: taken from the logit of a token once for each time it was written.
        logit_bias: added to the logits of these ids before anything else changes them; -100 bans
            a token, 100 leaves no others.
        seed: of the random choices; None draws one.
        stop: texts at which to end; they are not part of the answer.
        n: continuations to write of the one prompt, each with its own :func:`row_seed`.
        logprobs: tell of each token the natural logarithm of its probability, and the same of
            so many likeliest tokens. It is the model's own probability, before penalty,
            temperature and what they leave out. None: tell nothing.
        prompt_logprobs: tell the same of the prompt's tokens; needs ``logprobs``.
    """

    prompt: str = ""
    prompt_tokens: tuple[int, ...] | None = None
    max_new_tokens: int = 200
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[int, float] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: int | None = None
    prompt_logprobs: bool = False

    @classmethod
    def from_values(
        cls, values: Mapping[str, Any], called: Mapping[str, str] = _AS_HERE
    ) -> GenerationSettings:
        """Build from values given by a person or a program, and check them.

        Args:
            called: what whoever gave them calls the settings, where that differs.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        unknown = [name for name in values if name not in cls.__struct_fields__]
        if unknown:
            raise UsageError(
                f"There is no generation setting '{str(unknown[0])[:80]}'.",
                f"There are: {', '.join(cls.__struct_fields__)}.",
            )
        held = {name: _as_held(name, value) for name, value in values.items()}
        return cls(**held).validate(called)

    def validate(self, called: Mapping[str, str] = _AS_HERE) -> GenerationSettings:
        """Return the settings themselves if each value can be used.

        Args:
            called: what whoever gave the values calls the settings, where that differs.

        Raises:
            UsageError: names every value that is wrong, and what is allowed.
        """
        problems = [problem for problem in self._problems(called) if problem]
        if problems:
            raise UsageError(" ".join(problems), "See 'llm-trainer generate --help'.")
        return self

    def with_seed(self) -> GenerationSettings:
        """Return settings whose seed is known, so that the answer can be had again."""
        if self.seed is not None:
            return self
        return msgspec.structs.replace(self, seed=secrets.randbelow(2**31))

    def _problems(self, called: Mapping[str, str]) -> list[str | None]:
        def name(setting: str) -> str:
            return called.get(setting, setting)

        return [
            _text("prompt", self.prompt, MAX_PROMPT_CHARACTERS),
            _optional(_ids, "prompt_tokens", self.prompt_tokens),
            self._two_prompts(),
            self._new_tokens(name("max_new_tokens")),
            _number(
                name("temperature"), self.temperature, "a number of 0 or more", lambda v: v >= 0
            ),
            _optional(_whole, name("top_k"), self.top_k, 0, None),
            _optional(
                _number,
                name("top_p"),
                self.top_p,
                "a number above 0 and up to 1",
                lambda v: 0 < v <= 1,
            ),
            _optional(
                _number, name("min_p"), self.min_p, "a number from 0 to 1", lambda v: 0 <= v <= 1
            ),
            _optional(
                _number,
                name("repetition_penalty"),
                self.repetition_penalty,
                "a number above 0",
                lambda v: v > 0,
            ),
            _optional(_within, name("presence_penalty"), self.presence_penalty, MAX_PENALTY),
            _optional(_within, name("frequency_penalty"), self.frequency_penalty, MAX_PENALTY),
            _optional(_biases, "logit_bias", self.logit_bias),
            _optional(_whole, name("seed"), self.seed, 0, MAX_SEED),
            _stop_texts(name("stop"), self.stop),
            self._continuations(name("n")),
            _optional(_whole, name("logprobs"), self.logprobs, 0, MAX_LOGPROBS),
            self._prompt_logprobs(),
        ]

    def _two_prompts(self) -> str | None:
        if self.prompt_tokens is None or self.prompt == "":
            return None
        return "prompt and prompt_tokens are both given: a prompt is a text or ids, not both."

    def _new_tokens(self, name: str) -> str | None:
        reads_only = self.prompt_logprobs is True
        return _whole(name, self.max_new_tokens, 0 if reads_only else 1, MAX_NEW_TOKENS)

    def _continuations(self, name: str) -> str | None:
        problem = _whole(name, self.n, 1, MAX_CONTINUATIONS)
        more = " For more, ask again with another seed."
        return problem and problem + more

    def _prompt_logprobs(self) -> str | None:
        if not isinstance(self.prompt_logprobs, bool):
            return _wrong("prompt_logprobs", self.prompt_logprobs, "true or false")
        if self.prompt_logprobs and self.logprobs is None:
            return "prompt_logprobs needs logprobs: how many alternatives to tell, from 0."
        return None


def _as_held(name: str, value: Any) -> Any:
    """Return a value as the settings hold it: what JSON has for a tuple or a number as key."""
    if name in ("stop", "prompt_tokens") and isinstance(value, list):
        return tuple(value)
    if name == "logit_bias" and isinstance(value, Mapping):
        return {_as_id(key): bias for key, bias in value.items()}
    return value


def _as_id(key: Any) -> Any:
    """Return the number that the text of a JSON key spells; anything else as it is."""
    plain = isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= _ID_DIGITS
    return int(key) if plain else key


def scored_text(text: str) -> str:
    """Return what is scored of a text: all but one line break at its end.

    Files and what is pasted end with one that nobody means as a part of the text.
    """
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text


def checked_score(text: Any, alternatives: Any) -> None:
    """Refuse what cannot be scored.

    Raises:
        UsageError: names every value that is wrong, and what is allowed.
    """
    problems = [
        _text("text", text, MAX_SCORED_CHARACTERS),
        "text is empty: there is nothing to score." if text == "" else None,
        _whole("alternatives", alternatives, 0, MAX_LOGPROBS),
    ]
    if told := " ".join(filter(None, problems)):
        raise UsageError(told, "See 'llm-trainer score --help'.")


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


def _is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; a whole one may be too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _number(name: str, value: Any, allowed: str, fits: Any) -> str | None:
    small = _is_number(value) and abs(value) <= sys.float_info.max
    return None if small and fits(value) else _wrong(name, value, allowed)


def _within(name: str, value: Any, most: int) -> str | None:
    return _number(name, value, f"a number from -{most} to {most}", lambda v: abs(v) <= most)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ID


def _ids(name: str, value: Any) -> str | None:
    allowed = "a list of ids of the vocabulary, each a whole number of 0 or more"
    if not isinstance(value, tuple):
        return _wrong(name, value, allowed)
    if len(value) > MAX_PROMPT_CHARACTERS:
        return f"{name} has {len(value):,} ids: at most {MAX_PROMPT_CHARACTERS:,} are allowed."
    wrong = next((place for place, token in enumerate(value) if not _is_id(token)), None)
    return None if wrong is None else _wrong(f"{name}[{wrong}]", value[wrong], "an id of 0 or more")


def _biases(name: str, value: Any) -> str | None:
    if not isinstance(value, dict):
        return _wrong(name, value, "an object of ids and numbers")
    if len(value) > MAX_BIASES:
        return f"{name} has {len(value):,} entries: at most {MAX_BIASES:,} are allowed."
    for token, bias in value.items():
        if not _is_id(token):
            return _wrong(f"An id of {name}", token, "a whole number of 0 or more")
        if problem := _within(f"{name}[{token}]", bias, MAX_BIAS):
            return problem
    return None


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


def _stop_texts(name: str, value: Any) -> str | None:
    if not isinstance(value, tuple) or not all(isinstance(text, str) for text in value):
        return _wrong(name, value, "a list of texts")
    if len(value) > MAX_STOP_TEXTS:
        return f"{name} has {len(value):,} texts: at most {MAX_STOP_TEXTS} are allowed."
    if "" in value:
        return f"{name} has an empty text: it would end every text before it begins."
    return next(filter(None, (_not_unicode(name, text) for text in value)), None)


def _wrong(name: str, value: Any, allowed: str) -> str:
    shown = _shown(value)
    return f"{name} = {shown if len(shown) <= 60 else shown[:57] + '...'} is not {allowed}."


def _shown(value: Any) -> str:
    """Return a value as Python writes it, but a tuple as the list that it was given as.

    A number that is too long for that is told by its size.
    """
    try:
        return repr(list(value) if isinstance(value, tuple) else value)
    except ValueError:
        return f"a number of {value.bit_length():,} bits" if isinstance(value, int) else "a value"
