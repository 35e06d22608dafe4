"""The choice of the next token: from logits, by settings, with random numbers of its own.

Logits are arrays (V,) of one value a vocabulary entry, on the CPU, whatever the model runs on.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.errors import CheckpointError
from trainer.inference.request import GenerationSettings

Logits = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float64]
Tokens = npt.NDArray[np.intp]


class Sampler:
    """Chooses the tokens of one text.

    Args:
        seed: of the choices; the same one makes the same choices from the same logits.
        seen: tokens of the prompt, for the repetition penalty.
        vocab_size: entries that may be chosen.
    """

    def __init__(
        self, settings: GenerationSettings, seed: int, seen: list[int], vocab_size: int
    ) -> None:
        self._settings = settings
        self._random = random.Random(seed)
        self._seen = np.zeros(vocab_size, dtype=np.bool_)
        self._seen[seen] = True

    def choose(self, logits: Logits) -> int:
        """Choose the next token; it then counts as seen.

        Raises:
            CheckpointError: a logit is not finite.
        """
        refuse_spoilt(logits)
        if self._settings.repetition_penalty is not None:
            logits = penalise_repetition(logits, self._seen, self._settings.repetition_penalty)
        if self._settings.temperature == 0:
            token = int(logits.argmax())
        else:
            token = draw(*distribution(logits, self._settings), self._random.random())
        self._seen[token] = True
        return token


def refuse_spoilt(logits: Logits) -> None:
    """Refuse logits of which one is not finite.

    Raises:
        CheckpointError: naming the weights as the cause.
    """
    if not np.isfinite(logits).all():
        raise CheckpointError(
            "The model's answer is not finite: the weights of this checkpoint are spoilt.",
            "Use an earlier checkpoint.",
        )


def penalise_repetition(logits: Logits, seen: npt.NDArray[np.bool_], penalty: float) -> Logits:
    """Make the tokens seen less likely (CTRL, arXiv 1909.05858), also below zero."""
    tokens = np.flatnonzero(seen)
    old = logits[tokens]
    penalised = logits.copy()
    penalised[tokens] = np.where(old > 0, old / penalty, old * penalty)
    return penalised


def distribution(logits: Logits, settings: GenerationSettings) -> tuple[Tokens, Probabilities]:
    """Return the tokens that may come next, ascending, and the probability of each.

    Temperature, top-k, top-p and min-p are applied in this order, as other programs have it.
    Top-p is nucleus sampling (arXiv 1904.09751), min-p is arXiv 2407.01082.
    """
    tokens = _top_k(logits, settings.top_k)
    # The largest logit is taken off first: a tiny temperature must not overflow.
    scaled = logits[tokens].astype(np.float64)
    scaled -= scaled.max()
    scaled /= settings.temperature
    probabilities = np.exp(scaled, out=scaled)
    probabilities /= probabilities.sum()
    if settings.top_p is not None:
        tokens, probabilities = _keep(_top_p(probabilities, settings.top_p), tokens, probabilities)
    if settings.min_p is not None:
        likely = np.flatnonzero(probabilities >= settings.min_p * probabilities.max())
        tokens, probabilities = _keep(likely, tokens, probabilities)
    return tokens, probabilities


def draw(tokens: Tokens, probabilities: Probabilities, share: float) -> int:
    """Return the token at a share, from 0 to below 1, of the probabilities laid end to end."""
    reached = probabilities.cumsum()
    index = int(reached.searchsorted(share * reached[-1], side="right"))
    return int(tokens[min(index, len(tokens) - 1)])


def _keep(
    kept: Tokens, tokens: Tokens, probabilities: Probabilities
) -> tuple[Tokens, Probabilities]:
    left = probabilities[kept]
    return tokens[kept], left / left.sum()


def _top_k(logits: Logits, k: int | None) -> Tokens:
    """Return the ``k`` likeliest tokens, in ascending order; all where there are not more."""
    if k is None or k >= len(logits):
        return np.arange(len(logits))
    return np.sort(logits.argpartition(-k)[-k:])


def _top_p(probabilities: Probabilities, p: float) -> Tokens:
    """Return the places, ascending, of the likeliest that together reach ``p``."""
    # All that are less likely than this add up to less than 1 - p, so none of them is needed.
    likely = np.flatnonzero(probabilities >= (1 - p) / len(probabilities))
    order = likely[np.argsort(-probabilities[likely], kind="stable")]
    reached = probabilities[order].cumsum()
    return np.sort(order[: int(reached.searchsorted(p)) + 1])


# ---------------------------------------------------------------------- how likely it was


@dataclass(frozen=True)
class TokenLikelihood:
    """A token and the natural logarithm of the probability that the model gave it."""

    token: int
    logprob: float


def likelihoods(
    logits: Logits, chosen: int, alternatives: int
) -> tuple[TokenLikelihood, list[TokenLikelihood]]:
    """Return how likely a token was, and the likeliest tokens there were, likeliest first.

    The probabilities are the model's own, before penalty, temperature and what these leave out.
    """
    exact = logits.astype(np.float64)
    logprobs = exact - exact.max()
    logprobs -= np.log(np.exp(logprobs).sum())
    best = _top_k(logits, alternatives) if alternatives else np.arange(0)
    ordered = best[np.argsort(-logprobs[best], kind="stable")]
    top = [TokenLikelihood(int(token), float(logprobs[token])) for token in ordered]
    return TokenLikelihood(chosen, float(logprobs[chosen])), top
