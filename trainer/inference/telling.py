"""What viewers say of texts that a model has written or scored: one wording for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer import formats
from trainer.inference.request import FinishReason

ENDINGS: Mapping[FinishReason, str] = {
    "length": "reached the length",
    "end_of_text": "ended its text",
    "stop": "met a stop text",
    "cancelled": "stopped",
}
"""Why a text has ended, as the end of a sentence about it."""


@dataclass(frozen=True)
class Figure:
    """A measurement as a person reads it: its name, its value and what it means.

    Args:
        label: its name on a terminal.
        heading: its name on a page.
        amount: what can be compared with other models' of the same text, less being better.
        parts: how many tokens, words or bytes the amount is told for.
    """

    label: str
    heading: str
    value: str
    meaning: str
    amount: float | None = None
    parts: int = 0


def report_words(told: Mapping[str, Any], tokens_per_second: float | None = None) -> str:
    """Say of a continuation how long it is, how fast it came, how to have it again, why it ended.

    Args:
        told: ``tokens``, ``seed`` and ``finish_reason`` of the continuation.
        tokens_per_second: left out where it is not known, or not this continuation's own.
    """
    pace = [] if tokens_per_second is None else [formats.speed(tokens_per_second)]
    length = formats.plural(told["tokens"], "token")
    return " · ".join([length, *pace, f"seed {told['seed']}", ENDINGS[told["finish_reason"]]])


def broken_off_words(tokens: int, seed: int | None) -> str:
    """Say of a text whose writing failed midway how long it is, and how to have it again."""
    return f"{formats.plural(tokens, 'token')} · seed {seed} · broken off"


def unread_prompt_words(done: Mapping[str, Any]) -> str:
    """Say that a prompt was longer than the model can read; nothing when it was not."""
    whole, read = done["prompt_tokens"], done["prompt_tokens_read"]
    if read >= whole:
        return ""
    return f"The prompt has {whole:,} tokens; the model read the last {read:,}."


def score_figures(score: Mapping[str, Any]) -> list[Figure]:
    """Return what was measured of a text, the figure that says most first.

    Args:
        score: last event of a score; see :mod:`trainer.inference.protocol`.
    """
    tokens = len(score["tokens"])
    return [
        Figure(
            "perplexity",
            "Perplexity",
            formats.perplexity(score["perplexity"]),
            "tokens the model wavered between, on average",
            score["perplexity"],
            tokens,
        ),
        Figure(
            "word perplexity",
            "Word perplexity",
            formats.perplexity(score["word_perplexity"]),
            "the same by words, whatever the vocabulary",
            score["word_perplexity"],
            score["words"],
        ),
        Figure(
            "bits a byte",
            "Bits per byte",
            f"{score['bits_per_byte']:.4f}",
            "of 8: the size of the text if the model packed it",
            score["bits_per_byte"],
            score["bytes"],
        ),
        Figure(
            "loss",
            "Loss",
            formats.loss(score["loss"]),
            "nats a token: the logarithm of the perplexity",
            score["loss"],
            tokens,
        ),
        Figure("length", "Length", _length_words(score), ""),
    ]


def best_value(figures: Sequence[Figure]) -> str | None:
    """Return the best value of one measurement by several models, as it is written.

    None where none is: it takes two that differ, told for as many tokens, words or bytes.
    """
    known = [(figure.amount, figure.value) for figure in figures if figure.amount is not None]
    if len({figure.parts for figure in figures}) > 1 or len({value for _, value in known}) < 2:
        return None
    return min(known)[1]


def score_words(score: Mapping[str, Any]) -> str:
    """Say in a line what was measured of a text, leaving out what is not known."""
    words = score["word_perplexity"]
    told = [
        f"perplexity {formats.perplexity(score['perplexity'])}",
        "" if words is None else f"word perplexity {formats.perplexity(words)}",
        f"{score['bits_per_byte']:.4f} bits a byte",
        formats.plural(len(score["tokens"]), "token"),
    ]
    return " · ".join(filter(None, told))


def _length_words(score: Mapping[str, Any]) -> str:
    counts = ((len(score["tokens"]), "token"), (score["words"], "word"), (score["bytes"], "byte"))
    return ", ".join(formats.plural(number, noun) for number, noun in counts)
