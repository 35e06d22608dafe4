"""A text token by token, as a page shows it: each with its tint and its figure."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.inference import surprise

_WHITE = " \t\n"


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

    @property
    def lead(self) -> str:
        """The white space before the word, which is not tinted."""
        return "" if self.sign else self.text[: -len(self.text.lstrip(_WHITE))]

    @property
    def ink(self) -> str:
        """What is tinted."""
        return self.text[len(self.lead) :]

    @property
    def sign(self) -> str:
        """What tells a cell of white space alone; empty for any other."""
        return self.text.translate(surprise.VISIBLE) if not self.text.strip(_WHITE) else ""


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
