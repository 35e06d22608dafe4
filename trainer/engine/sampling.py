"""The choice of the next token: from logits, by settings, with random numbers of its own.

Logits are arrays (V,) of one value a vocabulary entry, on the CPU, whatever the model runs on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from trainer.engine.likelihoods import Logits
from trainer.errors import CheckpointError, UsageError
from trainer.inference.request import MAX_BIAS, GenerationSettings

Probabilities = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.intp]
Waits = npt.NDArray[np.float32]

_LEAST, _MOST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)
_COLDEST, _HOTTEST = 1e-30, 1e30
"""Temperatures beyond these change nothing any more, and float32 could not hold them."""
_SHARE = np.nextafter(np.float32(2**-32), np.float32(0))
"""The share of a random number of 32 bits, of which even the largest stays below 1."""


class Sampler:
    """Chooses the tokens of one text.

    Args:
        seed: of the choices; the same one makes the same choices from the same logits.
        seen: tokens of the prompt, for the repetition penalty.
        vocab_size: entries that may be chosen.

    Raises:
        UsageError: a bias is for an id outside the vocabulary, or leaves no token to choose.
    """

    def __init__(
        self, settings: GenerationSettings, seed: int, seen: Sequence[int], vocab_size: int
    ) -> None:
        self._settings = settings
        self._random = np.random.PCG64(seed)
        self._seen = np.zeros(vocab_size, dtype=np.bool_)
        self._seen[list(seen)] = True
        self._written = np.zeros(vocab_size, dtype=np.float32)
        self._changes = list(self._wanted_changes(vocab_size))

    def choose(self, logits: Logits) -> int:
        """Choose the next token; it then counts as written.

        Raises:
            CheckpointError: a logit is not finite.
        """
        refuse_spoilt(logits)
        for change in self._changes:
            logits = change(logits)
        if self._settings.temperature == 0:
            token = int(logits.argmax())
        else:
            tokens, probabilities = distribution(logits, self._settings)
            waits = exponential_waits(self._random, len(tokens))
            token = draw(tokens, probabilities, waits)
        self._seen[token] = True
        self._written[token] += 1
        return token

    def _wanted_changes(self, vocab_size: int) -> Iterator[Callable[[Logits], Logits]]:
        """Yield what changes the logits before a choice, in order."""
        settings = self._settings
        if settings.logit_bias:
            yield Bias(settings.logit_bias, vocab_size)
        if settings.repetition_penalty is not None:
            yield partial(penalise_repetition, seen=self._seen, penalty=settings.repetition_penalty)
        if settings.presence_penalty or settings.frequency_penalty:
            yield partial(
                penalise_written,
                written=self._written,
                presence=settings.presence_penalty or 0.0,
                frequency=settings.frequency_penalty or 0.0,
            )


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


def refuse_unknown(name: str, ids: Iterable[int], vocab_size: int) -> None:
    """Refuse ids that the vocabulary does not have.

    Raises:
        UsageError: naming the first of them and the size of the vocabulary.
    """
    unknown = next((token for token in ids if not 0 <= token < vocab_size), None)
    if unknown is not None:
        raise UsageError(
            f"{name} has the id {unknown}, which this model's vocabulary does not have.",
            f"The vocabulary has {vocab_size:,} entries: ids are from 0 to {vocab_size - 1}.",
        )


class Bias:
    """Adds a number to the logits of some tokens; the extremes ban a token, or all others.

    Raises:
        UsageError: an id lies outside the vocabulary, or no token is left.
    """

    def __init__(self, bias: Mapping[int, float], vocab_size: int) -> None:
        refuse_unknown("logit_bias", bias, vocab_size)
        added = np.zeros(vocab_size, dtype=np.float32)
        added[list(bias)] = list(bias.values())
        added[added <= -MAX_BIAS] = -np.inf
        forced = added >= MAX_BIAS
        if forced.any():
            added = np.where(forced, np.float32(0), -np.inf).astype(np.float32)
        if np.isinf(added).all():
            raise UsageError(
                "logit_bias bans every token of this model's vocabulary.",
                f"Leave at least one of the {vocab_size:,} entries above -{MAX_BIAS}.",
            )
        self._added = added

    def __call__(self, logits: Logits) -> Logits:
        """Return the logits (V,) with the bias added; of a banned token it is -inf."""
        return logits + self._added


def penalise_repetition(logits: Logits, seen: npt.NDArray[np.bool_], penalty: float) -> Logits:
    """Make the tokens seen less likely (CTRL, arXiv 1909.05858), also below zero."""
    tokens = np.flatnonzero(seen)
    old = logits[tokens].astype(np.float64)
    penalised = logits.copy()
    penalised[tokens] = np.clip(np.where(old > 0, old / penalty, old * penalty), _LEAST, _MOST)
    penalised[tokens[np.isneginf(old)]] = -np.inf
    return penalised


def penalise_written(
    logits: Logits, written: npt.NDArray[np.float32], presence: float, frequency: float
) -> Logits:
    """Make less likely what was written already: once, and for each time it was written.

    Args:
        written: how often each token was, (V,).
    """
    penalised: Logits = logits - np.float32(frequency) * written
    penalised[written > 0] -= np.float32(presence)
    return penalised


def distribution(logits: Logits, settings: GenerationSettings) -> tuple[Tokens, Probabilities]:
    """Return the tokens that may come next, ascending, and the probability of each.

    Temperature, top-k, top-p and min-p are applied in this order, as other programs have it.
    Top-p is nucleus sampling (arXiv 1904.09751), min-p is arXiv 2407.01082.
    """
    tokens = _top_k(logits, settings.top_k or len(logits))
    # The largest logit is taken off first: a tiny temperature must not overflow.
    scaled = logits[tokens] if len(tokens) < len(logits) else logits.copy()
    scaled -= scaled.max()
    with np.errstate(over="ignore"):
        scaled /= np.float32(min(max(settings.temperature, _COLDEST), _HOTTEST))
    probabilities = np.exp(scaled, out=scaled)
    probabilities /= probabilities.sum()
    if settings.top_p is not None:
        tokens, probabilities = _keep(_top_p(probabilities, settings.top_p), tokens, probabilities)
    if settings.min_p is not None:
        likely = np.flatnonzero(probabilities >= settings.min_p * probabilities.max())
        tokens, probabilities = _keep(likely, tokens, probabilities)
    return tokens, probabilities


def draw(tokens: Tokens, probabilities: Probabilities, waits: Waits) -> int:
    """Return the token that wins a race: the first whose wait, sped up by its probability, is over.

    Each wins as often as it is likely (the Gumbel-max trick, arXiv 1411.0030, without logarithms).
    A choice hardly ever hangs on the last digits of the probabilities: only where two tokens are
    head to head. Along the sums of all probabilities it would, at one of thousands of borders.

    Args:
        waits: independent, above 0, exponentially distributed with mean 1; one a token.
    """
    return int(tokens[(probabilities / waits).argmax()])


def exponential_waits(bits: np.random.PCG64, count: int) -> Waits:
    """Return random waits for :func:`draw`, from 32 random bits each.

    The shortest of thousands decide, so they are as fine as their size: 1 in 2**32 is the least.
    The same bits make the same waits in every version of numpy.
    """
    whole = bits.random_raw(-(-count // 2)).view(np.uint32)[:count]
    shares = whole.astype(np.float32)
    shares += np.float32(0.5)
    shares *= -_SHARE
    waits: Waits = np.log1p(shares, out=shares)
    return np.negative(waits, out=waits)


@cache
def _all(size: int) -> Tokens:
    return np.arange(size)


def _keep(
    kept: Tokens, tokens: Tokens, probabilities: Probabilities
) -> tuple[Tokens, Probabilities]:
    left = probabilities[kept]
    return tokens[kept], left / left.sum()


def _top_k(logits: Logits, k: int) -> Tokens:
    """Return the ``k`` likeliest tokens, in ascending order; all where there are not more."""
    if k >= len(logits):
        return _all(len(logits))
    return np.sort(logits.argpartition(-k)[-k:])


def _top_p(probabilities: Probabilities, p: float) -> Tokens:
    """Return the places, ascending, of the likeliest that together reach ``p``."""
    # All that are less likely than this add up to less than 1 - p, so none of them is needed.
    likely = np.flatnonzero(probabilities >= (1 - p) / len(probabilities))
    order = likely[np.argsort(-probabilities[likely], kind="stable")]
    reached = probabilities[order].cumsum()
    return np.sort(order[: int(reached.searchsorted(p)) + 1])
