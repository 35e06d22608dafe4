"""Writing text: one token after the other, each drawn from what the model expects.

The same checkpoint, settings and seed give the same text again: choices are drawn on the CPU from
a generator of their own, and neither global random numbers nor the model's mode are disturbed.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.engine.model import GPT
from trainer.errors import CheckpointError
from trainer.inference.request import FinishReason, GenerationSettings

Autocast = Callable[[], AbstractContextManager[Any]]


class TextCodec(Protocol):
    """What generation asks of a tokenizer; see :class:`trainer.engine.tokenization.Tokenizer`."""

    end_of_text: int

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class Piece:
    """What one more token has added to the text; the last piece says why it is the last.

    ``tokens`` counts the tokens written so far. ``text`` may be empty: a token can end in the
    middle of a character, or in what may become a stop text.
    """

    text: str
    tokens: int
    finish_reason: FinishReason | None = None


def sample(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
) -> str:
    """Return a whole continuation of the prompt, without the prompt."""
    pieces = stream(model, tokenizer, settings, device=device, autocast=autocast)
    return "".join(piece.text for piece in pieces)


def stream(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Piece]:
    """Continue a prompt, piece by piece; the last piece has a finish reason.

    A prompt longer than the context is cut at its beginning. When the context is full, the model
    goes on from its last half.

    Args:
        autocast: makes the context of a forward pass.
        should_stop: is asked before each token; True ends with "cancelled".

    Raises:
        UsageError: a setting is wrong.
        CheckpointError: the model's answer is not finite.
    """
    settings = settings.validate().with_seed()
    generator = torch.Generator().manual_seed(settings.seed or 0)
    prompt = tokenizer.encode(settings.prompt) or [tokenizer.end_of_text]
    reader = _Reader(model, prompt, device, autocast)
    writer = TextAssembler(settings.stop)
    seen = set(prompt)
    for count in range(settings.max_new_tokens):
        if should_stop():
            yield Piece(writer.finish(), count, "cancelled")
            return
        logits = reader.next_logits()[: tokenizer.vocab_size]
        token = choose_token(logits, settings, seen, generator)
        if token == tokenizer.end_of_text:
            yield Piece(writer.finish(), count, "end_of_text")
            return
        text = writer.add(tokenizer.token_bytes(token))
        if writer.stopped:
            yield Piece(text, count + 1, "stop")
            return
        yield Piece(text, count + 1)
        seen.add(token)
        reader.append(token)
    yield Piece(writer.finish(), settings.max_new_tokens, "length")


# ---------------------------------------------------------------------- the model's side


class _Reader:
    """Feeds a model with tokens and tells what it expects next."""

    def __init__(
        self, model: GPT, prompt: list[int], device: torch.device, autocast: Autocast
    ) -> None:
        self._model, self._device, self._autocast = model, device, autocast
        self._cache = model.new_cache()
        self._tokens = prompt[-model.context :]
        self._unread = self._tokens

    def append(self, token: int) -> None:
        """Take the next token of the text."""
        self._tokens.append(token)
        self._unread = [token]
        if len(self._tokens) > self._model.context:
            self._tokens = self._unread = self._tokens[-max(1, self._model.context // 2) :]
            self._cache.clear()

    @torch.no_grad()
    def next_logits(self) -> Tensor:
        """Return the logits (V,), float32 on the CPU, of the token after those taken so far."""
        tokens = torch.tensor([self._unread], device=self._device)
        with _evaluating(self._model), self._autocast():
            return self._model.next_token_logits(tokens, self._cache)[0].cpu()


@contextmanager
def _evaluating(model: GPT) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


# ---------------------------------------------------------------------- the choice


def choose_token(
    logits: Tensor, settings: GenerationSettings, seen: set[int], generator: torch.Generator
) -> int:
    """Draw the next token from logits (V,).

    Raises:
        CheckpointError: no logit is a number.
    """
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            "The model's answer is not finite: the weights of this checkpoint are spoilt.",
            "Use an earlier checkpoint.",
        )
    logits = penalise_repetition(logits, seen, settings.repetition_penalty)
    if settings.temperature == 0:
        return int(logits.argmax())
    probabilities = distribution(logits, settings)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def penalise_repetition(logits: Tensor, seen: set[int], penalty: float | None) -> Tensor:
    """Make the tokens seen less likely (CTRL, arXiv 1909.05858), also below zero."""
    if penalty is None or not seen:
        return logits
    index = torch.tensor(sorted(seen))
    old = logits[index]
    return logits.index_copy(0, index, torch.where(old > 0, old / penalty, old * penalty))


def distribution(logits: Tensor, settings: GenerationSettings) -> Tensor:
    """Return the probabilities (V,), float64, after temperature, top-k, top-p and min-p.

    In this order, as other programs have it; what is dropped has probability 0. Top-p is nucleus
    sampling (arXiv 1904.09751), min-p is arXiv 2407.01082.
    """
    # The largest logit is taken off first: a tiny temperature must not overflow.
    scaled = (logits.double() - logits.max()) / settings.temperature
    probabilities = scaled.softmax(0)
    if settings.top_k is not None:
        probabilities = keep_top_k(probabilities, settings.top_k)
    if settings.top_p is not None:
        probabilities = keep_top_p(probabilities, settings.top_p)
    if settings.min_p is not None:
        least = settings.min_p * probabilities.max()
        probabilities = probabilities.where(probabilities >= least, 0.0)
    return probabilities / probabilities.sum()


def keep_top_k(probabilities: Tensor, k: int) -> Tensor:
    """Drop all but the ``k`` likeliest."""
    kept = probabilities.topk(min(k, len(probabilities))).indices
    return torch.zeros_like(probabilities).index_copy(0, kept, probabilities[kept])


def keep_top_p(probabilities: Tensor, p: float) -> Tensor:
    """Drop what comes after the likeliest that together reach ``p`` of what there is."""
    ordered, index = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(0) - ordered
    kept = ordered.where(before < p * ordered.sum(), 0.0)
    return torch.zeros_like(probabilities).index_copy(0, index, kept)


# ---------------------------------------------------------------------- the text's side


class TextAssembler:
    """Turns bytes into text as they come, never half a character, and watches for stop texts."""

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self.stopped = False
        self._stop = stop
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def add(self, data: bytes, final: bool = False) -> str:
        """Take bytes and return the text that is certain now."""
        self._held += self._decoder.decode(data, final)
        return self._release()

    def finish(self) -> str:
        """Return the rest; bytes that make no character become U+FFFD."""
        text = self.add(b"", final=True)
        rest, self._held = self._held, ""
        return text + rest

    def _release(self) -> str:
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        self.stopped = bool(found)
        cut = min(found) if found else len(self._held) - self._possible_stop_length()
        text, self._held = self._held[:cut], "" if found else self._held[cut:]
        return text

    def _possible_stop_length(self) -> int:
        """Return the length of the longest end of the text that may become a stop text."""
        longest = max((len(text) - 1 for text in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-length:]) for text in self._stop):
                return length
        return 0
