"""How well a model predicts a text: loss, word-level perplexity and bits per byte.

Every token of the text but the first is scored exactly once, with a sliding window of context: a
window of ``seq_length`` tokens scores its last ``stride`` tokens only, the first window all of
its own. The words that divide the summed loss are counted as the literature counts them (Merity
et al., 2016, arXiv 1609.07843), so the perplexity does not depend on the tokenizer.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.config import Config
from trainer.engine.out_of_memory import Shortage, smaller, unless_out_of_memory
from trainer.errors import NotFiniteError

Tokens = npt.NDArray[np.integer[Any]]
Autocast = Callable[[], AbstractContextManager[Any]]

_AT_ONCE_TOKENS = 8192


class Scorer(Protocol):
    """What an evaluation asks of a model; see :class:`trainer.engine.model.GPT`."""

    training: bool

    def train(self, mode: bool = True) -> Any: ...

    def token_losses(
        self, tokens: Tensor, targets: Tensor, scored: int | None = None
    ) -> Tensor: ...


@dataclass(frozen=True)
class Evaluation:
    """The figures of one text.

    ``loss`` is in nats a token, ``tokens`` counts the tokens scored. ``word_perplexity`` is None
    when it is too large for a number. ``windows_at_once`` is how many there was memory for.
    """

    loss: float
    word_perplexity: float | None
    bits_per_byte: float
    tokens: int
    words: int
    byte_count: int
    seconds: float
    windows_at_once: int


@dataclass(frozen=True)
class Window:
    """``length`` input tokens from ``first`` on, of which the last ``scored`` ones predict."""

    first: int
    length: int
    scored: int


def stride(config: Config) -> int:
    """Return how many tokens each window scores: half of ``seq_length`` unless it is set."""
    return config.evaluation.stride or max(1, config.training.seq_length // 2)


def windows_at_once(config: Config) -> int:
    """Return how many windows a run scores in one forward pass."""
    training = config.training
    return max(training.batch_size, _AT_ONCE_TOKENS // training.seq_length)


def windows(token_count: int, seq_length: int, stride: int) -> Iterator[Window]:
    """Cut a text so that each of its tokens but the first is predicted once."""
    last_input = token_count - 1
    length = min(seq_length, last_input)
    yield Window(0, length, length)
    for done in range(length, last_input, stride):
        end = min(done + stride, last_input)
        yield Window(end - length, length, end - done)


def evaluate(
    model: Scorer,
    tokens: Tokens,
    *,
    seq_length: int,
    stride: int,
    words: int,
    byte_count: int,
    batch_size: int,
    device: torch.device,
    autocast: Autocast,
    report: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Evaluation | None:
    """Score a text; see :func:`score` for the arguments.

    Args:
        report: is told the tokens done and the tokens in all after each batch.
        should_stop: is asked after each batch; True ends the evaluation.

    Returns:
        The figures, or None when it was stopped.
    """
    scoring = score(
        model,
        tokens,
        seq_length=seq_length,
        stride=stride,
        words=words,
        byte_count=byte_count,
        batch_size=batch_size,
        device=device,
        autocast=autocast,
    )
    try:
        while True:
            done, total = next(scoring)
            if report is not None:
                report(done, total)
            if should_stop is not None and should_stop():
                scoring.close()
                return None
    except StopIteration as end:
        result: Evaluation = end.value
        return result


def score(
    model: Scorer,
    tokens: Tokens,
    *,
    seq_length: int,
    stride: int,
    words: int,
    byte_count: int,
    batch_size: int,
    device: torch.device,
    autocast: Autocast,
) -> Generator[tuple[int, int], None, Evaluation]:
    """Score a text batch by batch: yield the tokens done and in all, return the figures.

    The model is in evaluation mode while a batch is scored, and as it was in between.

    Args:
        tokens: the text, (N,), at least two tokens.
        seq_length: tokens of a window.
        stride: tokens that a window scores, at most ``seq_length``.
        words, byte_count: the size of the text behind the tokens.
        batch_size: windows in one forward pass; halved where there is no memory for them.
        autocast: makes the context of a forward pass.

    Raises:
        NotFiniteError: the loss is not a finite number.
        TrainingError: there is no memory even for one window at a time.
        ValueError: there are fewer than two tokens.
    """
    total = len(tokens) - 1
    if total < 1:
        raise ValueError("a text of fewer than two tokens cannot be scored")
    started = time.monotonic()
    summed, done = 0.0, 0
    for batch in batches(windows(len(tokens), seq_length, stride), batch_size):
        nats, batch_size = _score_in_parts(model, tokens, batch, batch_size, device, autocast)
        summed += nats
        done += sum(window.scored for window in batch)
        yield done, total
    if not math.isfinite(summed):
        raise NotFiniteError(
            "The model's loss on the text is not a finite number: its weights are spoilt.",
            "Use an earlier checkpoint, and a lower training.learning_rate.",
        )
    return Evaluation(
        loss=mean_loss(summed, total),
        word_perplexity=word_perplexity(summed, words),
        bits_per_byte=bits_per_byte(summed, byte_count),
        tokens=total,
        words=words,
        byte_count=byte_count,
        seconds=time.monotonic() - started,
        windows_at_once=batch_size,
    )


def batches(cut: Iterator[Window], batch_size: int) -> Iterator[list[Window]]:
    """Gather windows that score equally many tokens."""
    for _, alike in itertools.groupby(cut, key=lambda window: window.scored):
        while batch := list(itertools.islice(alike, batch_size)):
            yield batch


def _score_in_parts(
    model: Scorer,
    tokens: Tokens,
    batch: list[Window],
    at_once: int,
    device: torch.device,
    autocast: Autocast,
) -> tuple[float, int]:
    """Return the summed loss of a batch, and how many of its windows there was memory for."""
    while True:
        parts = [batch[first : first + at_once] for first in range(0, len(batch), at_once)]
        scored = unless_out_of_memory(
            partial(_score_batches, model, tokens, parts, device, autocast)
        )
        if not isinstance(scored, Shortage):
            return scored, at_once
        at_once = smaller(min(at_once, len(batch)), scored, device)


def _score_batches(
    model: Scorer,
    tokens: Tokens,
    parts: Sequence[list[Window]],
    device: torch.device,
    autocast: Autocast,
) -> float:
    return sum(_score_batch(model, tokens, part, device, autocast) for part in parts)


@torch.no_grad()
def _score_batch(
    model: Scorer, tokens: Tokens, batch: list[Window], device: torch.device, autocast: Autocast
) -> float:
    """Return the summed loss of a batch; the sum is made in float64."""
    rows = np.stack([tokens[w.first : w.first + w.length + 1] for w in batch])
    ids = torch.from_numpy(rows.astype(np.int64)).to(device)
    was_training = model.training
    model.train(False)
    try:
        with autocast():
            losses = model.token_losses(ids[:, :-1], ids[:, 1:], scored=batch[0].scored)
    finally:
        model.train(was_training)
    return float(losses.double().sum())


def mean_loss(summed_nats: float, tokens: int) -> float:
    """Return the loss in nats a token."""
    return summed_nats / tokens


def word_perplexity(summed_nats: float, words: int) -> float | None:
    """Return exp(loss a word), or None where that is more than a number can hold."""
    try:
        return math.exp(summed_nats / words)
    except OverflowError:
        return None


def bits_per_byte(summed_nats: float, byte_count: int) -> float:
    """Return the bits that a code made by the model needs for a byte of the text."""
    return summed_nats / math.log(2.0) / byte_count
