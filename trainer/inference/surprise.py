"""How much a model was surprised by a token, as people read it.

The surprise of a token of probability p is -log2 p bits (Shannon's information content): 0 for what
was certain, 1 for one of two, 10 for one of a thousand.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

LEVEL_BITS = (3.0, 6.0, 9.0, 12.0)
"""From so many bits on a token is told apart by one more level of tint."""
TERMINAL_COLOURS = ("cyan", "yellow", "red", "red")
"""The tint of each level but the first on a terminal: its own colours, right on dark and light."""

VISIBLE = str.maketrans({" ": "·", "\n": "↵", "\t": "→"})
"""White space as it is shown to be seen."""


def bits(logprob: float) -> float:
    """Return the surprise, in bits, of a token with this natural logarithm of its probability."""
    return max(0.0, -logprob / math.log(2))


def level(logprob: float) -> int:
    """Return how strongly to tint a token: from 0, not at all, to ``len(LEVEL_BITS)``."""
    return level_of(bits(logprob))


def level_of(surprise: float) -> int:
    """Return how strongly to tint a token of this surprise in bits."""
    return sum(surprise >= least for least in LEVEL_BITS)


def share(logprob: float) -> str:
    """Write a probability as ``41 %``, ``3.0 %``, ``0.040 %``; what is less is ``< 0.01 %``."""
    percent = 100 * math.exp(min(0.0, logprob))
    if percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:#.2g} %"


def visible(token: Mapping[str, Any]) -> str:
    """Write a token so that each of its characters is seen: spaces, breaks, broken characters.

    Args:
        token: an entry of ``logprobs`` in :mod:`trainer.inference.protocol`; the mark that ends a
            text has no bytes.
    """
    data = bytes(token["bytes"])
    if not data:
        return "end of text"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "".join(f"<{byte:02X}>" for byte in data)
    shown = text.translate(VISIBLE)
    return "".join(c if c.isprintable() else f"<{ord(c):02X}>" for c in shown)


def spans(tokens: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return where each token stands in the text that all of them make: first character, and end.

    A character of several tokens belongs to the one that completes it; the others are empty.
    """
    return list(pairwise(accumulate(_lengths(tokens), initial=0)))


def _lengths(tokens: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for token in tokens:
        yield len(decoder.decode(bytes(token["bytes"])))
