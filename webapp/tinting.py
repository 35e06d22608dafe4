"""A text token by token, as a page shows it: each with its tint and its figure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.inference import surprise


@dataclass(frozen=True)
class Cell:
    """What is tinted as one: a token, or the tokens that make a character together.

    Args:
        level: how strong the tint is; see :func:`trainer.inference.surprise.level_of`.
        figure: the probability and the surprise, in words.
    """

    text: str
    level: int
    figure: str


def cells(tokens: Sequence[Mapping[str, Any]]) -> Iterator[Cell]:
    """Cut a text into cells.

    Args:
        tokens: entries of ``logprobs`` as in :mod:`trainer.inference.protocol`.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    logprob = 0.0
    for place, token in enumerate(tokens, 1):
        logprob += token["logprob"]
        text = decoder.decode(bytes(token["bytes"]), final=place == len(tokens))
        if text:
            yield _cell(text, logprob)
            logprob = 0.0


def _cell(text: str, logprob: float) -> Cell:
    figure = f"{surprise.share(logprob)} · {surprise.bits(logprob):.1f} bits"
    return Cell(text, surprise.level(logprob), figure)
