"""How likely a model finds tokens, from its logits: the model's own probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]
Logprobs = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenLikelihood:
    """A token and the natural logarithm of the probability that the model gave it."""

    token: int
    logprob: float


@dataclass(frozen=True)
class Likelihoods:
    """How likely a token was, and the likeliest tokens in its place, likeliest first."""

    chosen: TokenLikelihood
    top: list[TokenLikelihood]


def likelihoods(logits: Logits, chosen: Sequence[int], alternatives: int) -> list[Likelihoods]:
    """Return how likely each of T tokens was, and the likeliest tokens in its place.

    Args:
        logits: (T, V), finite.
        chosen: the tokens, (T,).
        alternatives: how many of the likeliest to tell of.
    """
    totals = log_totals(logits)
    tokens = np.array(chosen, dtype=np.int64)
    logprobs = logits[np.arange(len(tokens)), tokens] - totals
    top = likeliest(logits, alternatives)
    top_logprobs = np.take_along_axis(logits, top, axis=1) - totals[:, None]
    return [
        Likelihoods(TokenLikelihood(token, logprob), _told(others, other_logprobs))
        for token, logprob, others, other_logprobs in zip(
            tokens.tolist(), logprobs.tolist(), top.tolist(), top_logprobs.tolist(), strict=True
        )
    ]


def _told(tokens: list[int], logprobs: list[float]) -> list[TokenLikelihood]:
    return [TokenLikelihood(*pair) for pair in zip(tokens, logprobs, strict=True)]


def log_totals(logits: Logits) -> Logprobs:
    """Return the logarithm (T,) of the sum of exp(logits (T, V)), which no size overflows."""
    largest = logits.max(axis=1, keepdims=True)
    sums = np.exp(logits - largest).sum(axis=1, dtype=np.float64)
    totals: Logprobs = np.log(sums) + largest[:, 0]
    return totals


def likeliest(logits: Logits, count: int) -> Tokens:
    """Return the ``count`` likeliest tokens (T, count), likeliest first; all if there are fewer."""
    count = min(count, logits.shape[1])
    if count == 0:
        return np.empty((len(logits), 0), dtype=np.int64)
    best = np.sort(np.argpartition(logits, -count, axis=1)[:, -count:], axis=1)
    order = np.argsort(-np.take_along_axis(logits, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)
