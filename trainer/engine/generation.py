"""Writing text: one token after the other, each drawn from what the model expects.

The same checkpoint, settings and seed write the same texts again on the same machine: choices are
drawn from random numbers of their own, and neither global ones nor the model's mode are disturbed.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from trainer.engine.decoding import Array, Autocast, Decoder, decoder_for
from trainer.engine.model import GPT
from trainer.engine.sampling import Logits, Sampler, TokenLikelihood, likelihoods
from trainer.inference.request import FinishReason, GenerationSettings, row_seed


class TextCodec(Protocol):
    """What generation asks of a tokenizer; see :class:`trainer.engine.tokenization.Tokenizer`."""

    end_of_text: int

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class Likelihoods:
    """How likely a token was, and the likeliest tokens in its place, likeliest first."""

    chosen: TokenLikelihood
    top: list[TokenLikelihood]


@dataclass(frozen=True)
class Piece:
    """What one more token has added to a text; the last piece says why it is the last.

    ``tokens`` counts the tokens of this text so far. ``text`` may be empty: a token can end in
    the middle of a character, or in what may become a stop text. ``row`` says which of several
    texts it is; ``likelihoods`` are there where they were asked for and a token was written.
    """

    text: str
    tokens: int
    finish_reason: FinishReason | None = None
    row: int = 0
    likelihoods: Likelihoods | None = None


def sample(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
) -> str:
    """Return a whole continuation of the prompt, the first of several, without the prompt."""
    pieces = stream(model, tokenizer, settings, device=device, autocast=autocast)
    return "".join(piece.text for piece in pieces if piece.row == 0)


def stream(
    model: GPT,
    tokenizer: TextCodec,
    settings: GenerationSettings,
    *,
    device: torch.device,
    autocast: Autocast,
) -> Iterator[Piece]:
    """Continue a prompt with a model as it is now; see :class:`Generation`.

    Args:
        autocast: makes the context of a forward pass on a GPU.

    Raises:
        UsageError: a setting is wrong.
        CheckpointError: the model's answer is not finite.
    """
    return Generation(decoder_for(model, device, autocast), tokenizer, settings).pieces()


class Generation:
    """One continuation of a prompt, or several that are computed together.

    Of a prompt longer than the context the end is read, as much as the context holds. When the
    context is full, the model goes on from its last half. An empty prompt begins a new text.

    Each of several texts has a seed of its own, :func:`trainer.inference.request.row_seed`, and is
    what that seed writes alone, but for the last digits of the logits: products of several rows
    are rounded otherwise, which may turn a choice that stands on a knife's edge.

    Raises:
        UsageError: a setting is wrong.
    """

    def __init__(
        self, decoder: Decoder, tokenizer: TextCodec, settings: GenerationSettings
    ) -> None:
        settings = settings.validate().with_seed()
        prompt = tokenizer.encode(settings.prompt)
        read = prompt[-decoder.context :]
        self.settings = settings
        self.prompt_tokens, self.prompt_tokens_read = len(prompt), len(read)
        self._reader = _Reader(decoder, read or [tokenizer.end_of_text], settings.n)
        self._rows = [_Row(row, tokenizer, settings, read) for row in range(settings.n)]

    def pieces(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Piece]:
        """Yield what each token adds to each text; each text ends with a finish reason.

        Args:
            should_stop: is asked before each token; True ends all texts with "cancelled".

        Raises:
            CheckpointError: the model's answer is not finite.
        """
        rows = self._rows
        for _ in range(self.settings.max_new_tokens):
            if should_stop():
                yield from (row.end("cancelled") for row in rows)
                return
            logits = self._reader.next_logits()
            yield from (row.advance(values) for row, values in zip(rows, logits, strict=True))
            going = [place for place, row in enumerate(rows) if not row.ended]
            if not going:
                return
            self._reader.append(going, [rows[place].token for place in going])
            rows = [rows[place] for place in going]
        yield from (row.end("length") for row in rows)


class _Row:
    """One of the texts being written."""

    def __init__(
        self, row: int, tokenizer: TextCodec, settings: GenerationSettings, prompt: list[int]
    ) -> None:
        self.token = tokenizer.end_of_text
        self.ended = False
        self._row, self._tokenizer, self._settings = row, tokenizer, settings
        seed = row_seed(settings.seed or 0, row)
        self._sampler = Sampler(settings, seed, prompt, tokenizer.vocab_size)
        self._writer = TextAssembler(settings.stop)
        self._count = 0

    def advance(self, logits: Logits) -> Piece:
        """Choose one more token from logits (V,)."""
        logits = logits[: self._tokenizer.vocab_size]
        self.token = self._sampler.choose(logits)
        if self.token == self._tokenizer.end_of_text:
            return self.end("end_of_text")
        self._count += 1
        text = self._writer.add(self._tokenizer.token_bytes(self.token))
        self.ended = self._writer.stopped
        reason: FinishReason | None = "stop" if self.ended else None
        return Piece(text, self._count, reason, self._row, self._likelihoods(logits))

    def end(self, reason: FinishReason) -> Piece:
        """Return the last piece, with the text that was held back."""
        self.ended = True
        return Piece(self._writer.finish(), self._count, reason, self._row)

    def _likelihoods(self, logits: Logits) -> Likelihoods | None:
        if self._settings.logprobs is None:
            return None
        return Likelihoods(*likelihoods(logits, self.token, self._settings.logprobs))


class _Reader:
    """Feeds a decoder with the tokens of texts that begin alike, and tells what it expects."""

    def __init__(self, decoder: Decoder, prompt: list[int], rows: int) -> None:
        self._decoder = decoder
        self._cache = decoder.new_cache()
        self._tokens = self._unread = np.tile(np.array(prompt, dtype=np.int64), (rows, 1))
        self._alike = rows > 1

    def next_logits(self) -> Array:
        """Return the logits (B, V) of the token after those taken so far."""
        if not self._alike:
            return self._decoder.next_logits(self._unread, self._cache)
        self._alike = False
        rows = len(self._tokens)
        logits = self._decoder.next_logits(self._unread[:1], self._cache)
        self._cache.select([0] * rows)
        return logits.repeat(rows, axis=0)

    def append(self, rows: list[int], tokens: list[int]) -> None:
        """Go on with these rows alone, each with its next token."""
        if len(rows) < len(self._tokens):
            self._cache.select(rows)
            self._tokens = self._tokens[rows]
        self._unread = np.array(tokens, dtype=np.int64)[:, None]
        self._tokens = np.concatenate((self._tokens, self._unread), axis=1)
        context = self._decoder.context
        if self._tokens.shape[1] > context:
            self._tokens = self._unread = self._tokens[:, -max(1, context // 2) :].copy()
            self._cache.clear()


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
