"""The playground's form: what was typed, what each field allows, and what is asked of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from trainer.errors import UsageError
from trainer.inference.request import MAX_STOP_TEXTS, GenerationSettings
from trainer.inference.typed import stop_text

STOP_ALLOWED = f"Give at most {MAX_STOP_TEXTS} texts, one a line."
MOST_TOKENS_AT_ONCE = 1000
MOST_EXACT_SEED = 2**53 - 1
"""Beyond it a browser rounds whole numbers."""

_USUAL = GenerationSettings()
"""A field whose setting is off in it holds its neutral value."""


@dataclass(frozen=True)
class WritingField:
    """One number of the form; scripts check it by the same limits.

    Args:
        allowed: the limits in words, shown when something else was typed.
        above: whether ``low`` itself is too low.
        slider: lowest value, highest value and step of the slider beside the field, if any.
        usual: what is typed there at first; an empty field that may be empty changes nothing.
        neutral: the value that changes nothing, which is not asked of the model.
        first: whether it stands before the settings that can be folded away.
    """

    name: str
    label: str
    usual: str
    allowed: str
    help: str
    low: float
    high: float = math.inf
    whole: bool = False
    above: bool = False
    slider: tuple[float, float, float] | None = None
    neutral: float | None = None
    first: bool = False

    def problem(self, text: str) -> str:
        """Say what is allowed if the text is something else; empty when it is right."""
        if not text.strip() and not self.usual:
            return ""
        value = number(text, whole=self.whole)
        fits = value is not None and self.low <= value <= self.high
        return "" if fits and not (self.above and value == self.low) else self.allowed


WRITING_FIELDS: dict[str, WritingField] = {
    one.name: one
    for one in (
        WritingField(
            "max_new_tokens", "Length", str(_USUAL.max_new_tokens),
            "Give a whole number from 1 to 1,000.",
            "Most tokens to write.",
            low=1, high=MOST_TOKENS_AT_ONCE, whole=True, slider=(1, MOST_TOKENS_AT_ONCE, 1),
            first=True,
        ),
        WritingField(
            "temperature", "Temperature", str(_USUAL.temperature), "Give a number of 0 or more.",
            "0 always takes the likeliest token; higher is bolder.",
            low=0, slider=(0, 2, 0.05), first=True,
        ),
        WritingField(
            "seed", "Seed", "", "Give a whole number of 0 or more, or leave it empty.",
            "The same seed, prompt and settings write the same text again.",
            low=0, high=MOST_EXACT_SEED, whole=True, first=True,
        ),
        WritingField(
            "top_k", "Top-k", "0", "Give a whole number of 0 or more.",
            "Choose among the k likeliest tokens; 0: all.",
            low=0, whole=True, slider=(0, 200, 1), neutral=0,
        ),
        WritingField(
            "top_p", "Top-p", "1", "Give a number above 0, up to 1.",
            "Choose among the likeliest tokens that make up this share.",
            low=0, high=1, above=True, slider=(0.05, 1, 0.01), neutral=1,
        ),
        WritingField(
            "min_p", "Min-p", "0", "Give a number from 0 to 1.",
            "Leave out tokens less likely than this share of the likeliest.",
            low=0, high=1, slider=(0, 0.5, 0.01), neutral=0,
        ),
        WritingField(
            "repetition_penalty", "Repetition penalty", "1", "Give a number above 0.",
            "Above 1 makes words that were used less likely.",
            low=0, above=True, slider=(1, 2, 0.01), neutral=1,
        ),
        WritingField(
            "presence_penalty", "Presence penalty", "0", "Give a number from -2 to 2.",
            "Above 0 makes tokens less likely that it has written already.",
            low=-2, high=2, slider=(-2, 2, 0.1), neutral=0,
        ),
        WritingField(
            "frequency_penalty", "Frequency penalty", "0", "Give a number from -2 to 2.",
            "The same, once for each time it has written them.",
            low=-2, high=2, slider=(-2, 2, 0.1), neutral=0,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class WritingForm:
    """What was typed into the playground, or is carried by a link to it.

    Args:
        model: a run id, a space and the name of a checkpoint.
        stop: texts to end at, one a line; see :func:`stop_texts`.
    """

    model: str = ""
    prompt: str = "The history of"
    max_new_tokens: str = WRITING_FIELDS["max_new_tokens"].usual
    temperature: str = WRITING_FIELDS["temperature"].usual
    top_k: str = WRITING_FIELDS["top_k"].usual
    top_p: str = WRITING_FIELDS["top_p"].usual
    min_p: str = WRITING_FIELDS["min_p"].usual
    repetition_penalty: str = WRITING_FIELDS["repetition_penalty"].usual
    presence_penalty: str = WRITING_FIELDS["presence_penalty"].usual
    frequency_penalty: str = WRITING_FIELDS["frequency_penalty"].usual
    seed: str = WRITING_FIELDS["seed"].usual
    stop: str = ""

    @classmethod
    def submitted(cls, values: Mapping[str, str]) -> WritingForm:
        """Read what a browser sent; what was not sent keeps its usual value."""
        return cls(**{one.name: values[one.name] for one in fields(cls) if one.name in values})

    @classmethod
    def linked(cls, values: Mapping[str, str]) -> WritingForm:
        """Read what a link carries: the fields, and the model as ``run`` and ``checkpoint``."""
        model = f"{values.get('run', '')} {values.get('checkpoint', '')}".strip()
        return cls.submitted({**values, "model": model})

    def text(self, name: str) -> str:
        """Return what was typed into a field."""
        return str(getattr(self, name))

    @property
    def errors(self) -> dict[str, str]:
        """What is allowed in the fields that hold something else."""
        problems = {name: one.problem(self.text(name)) for name, one in WRITING_FIELDS.items()}
        problems["stop"] = "" if len(stop_texts(self.stop)) <= MAX_STOP_TEXTS else STOP_ALLOWED
        return {name: words for name, words in problems.items() if words}

    def settings(self) -> GenerationSettings:
        """Return what is asked of the model; what changes nothing is left out.

        Raises:
            UsageError: a value is wrong: a field has an error, or the prompt is too long.
        """
        asked: dict[str, Any] = {}
        for name, one in WRITING_FIELDS.items():
            value = number(self.text(name), whole=one.whole)
            asked[name] = None if value == one.neutral else value
        prompt = self.prompt.replace("\r\n", "\n")
        return generation_settings({"prompt": prompt, "stop": stop_texts(self.stop), **asked})


def stop_texts(typed: str) -> tuple[str, ...]:
    """Read stop texts, one a line; see :func:`trainer.inference.typed.stop_text`."""
    lines = typed.replace("\r\n", "\n").split("\n")
    return tuple(stop_text(line) for line in lines if line)


def number(text: str, *, whole: bool) -> int | float | None:
    """Read a number; None when the text is no finite one."""
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def generation_settings(values: Mapping[str, Any]) -> GenerationSettings:
    """Check settings for someone at a page or a program, to whom no command can be explained.

    Raises:
        UsageError: a setting is unknown or wrong.
    """
    try:
        return GenerationSettings.from_values(values)
    except UsageError as error:
        if values.keys() <= set(GenerationSettings.__struct_fields__):
            raise UsageError(error.message) from error
        raise
