"""How likely tokens were, in the shape of OpenAI's completions."""

from __future__ import annotations

import codecs
import math
from statistics import fmean
from typing import Any

from trainer.inference.protocol import Event

END_OF_TEXT = "<|endoftext|>"
"""The name of the one token that adds nothing to a text."""


class TokenLog:
    """Tells of the tokens of one text, in one piece or several.

    Args:
        offset: characters before the text; a token begins where the ones before it end.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, told: list[Event] | None) -> dict[str, Any] | None:
        """Return the likelihoods of further tokens; None where none were asked for.

        Args:
            told: entries of ``logprobs`` as in :mod:`trainer.inference.protocol`.
        """
        if told is None:
            return None
        return {
            "tokens": [token_text(one) for one in told],
            "token_logprobs": [one["logprob"] for one in told],
            "top_logprobs": [_top(one) for one in told],
            "text_offset": [self._begin(bytes(one["bytes"])) for one in told],
        }

    def _begin(self, data: bytes) -> int:
        begin = self._offset
        self._offset += len(self._decoder.decode(data))
        return begin


def token_text(told: Event) -> str:
    r"""Return a token's text, or ``bytes:\xe2\x82`` where its bytes are no whole characters."""
    data = bytes(told["bytes"])
    if not data:
        return END_OF_TEXT
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def _top(told: Event) -> dict[str, float] | None:
    """Return the likeliest tokens and, where it is none of them, the token itself."""
    if told["top"] is None:
        return None
    return {token_text(one): one["logprob"] for one in [*told["top"], told]}


def text_of(told: list[Event]) -> str:
    """Return the text that tokens make together."""
    return b"".join(bytes(one["bytes"]) for one in told).decode("utf-8", "replace")


def mean_logprob(told: list[Event]) -> float:
    """Return the mean log-probability of a text's tokens; a text without any ranks last."""
    return fmean(one["logprob"] for one in told) if told else -math.inf
