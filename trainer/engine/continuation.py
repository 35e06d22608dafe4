"""One text being written: which token comes next, what it adds to the text, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from trainer.engine.likelihoods import Likelihoods, Logits, likelihoods
from trainer.engine.sampling import Sampler
from trainer.engine.text_assembly import TextAssembler
from trainer.inference.request import FinishReason, GenerationSettings, row_seed


class TextCodec(Protocol):
    """What generation asks of a tokenizer; see :class:`trainer.engine.tokenization.Tokenizer`."""

    end_of_text: int

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def token_bytes(self, token: int) -> bytes: ...


@dataclass(frozen=True)
class PromptRead:
    """The tokens of a prompt that were read, and how likely each was after those before it.

    Both lists are equally long; the first token has None: nothing stands before it.
    """

    tokens: list[int]
    likelihoods: list[Likelihoods | None]


@dataclass(frozen=True)
class Piece:
    """What one more token has added to a text; the last piece says why it is the last.

    ``tokens`` counts the tokens of this text so far. ``text`` may be empty: a token can end in
    the middle of a character, or in what may become a stop text. ``row`` says which of several
    texts it is; ``likelihoods`` are there where they were asked for and a token was written, or
    the end-of-text mark chosen, which ends the text and is not counted.
    """

    text: str
    tokens: int
    finish_reason: FinishReason | None = None
    row: int = 0
    likelihoods: Likelihoods | None = None


class Continuation:
    """One of the texts that continue a prompt.

    Args:
        row: which of them, from 0.
        prompt: the tokens that were read of it.
    """

    def __init__(
        self, row: int, tokenizer: TextCodec, settings: GenerationSettings, prompt: Sequence[int]
    ) -> None:
        self.ended = False
        self.token = tokenizer.end_of_text
        """The one chosen last."""
        self._row, self._tokenizer, self._settings = row, tokenizer, settings
        seed = row_seed(settings.seed or 0, row)
        self._sampler = Sampler(settings, seed, prompt, tokenizer.vocab_size)
        self._writer = TextAssembler(settings.stop)
        self._count = 0

    def advance(self, logits: Logits) -> list[Piece]:
        """Choose one more token from logits (V,); the last one is followed by a last piece.

        Raises:
            CheckpointError: a logit is not finite.
        """
        logits = logits[: self._tokenizer.vocab_size]
        self.token = self._sampler.choose(logits)
        if self.token == self._tokenizer.end_of_text:
            return [self.end("end_of_text", self._likelihoods(logits))]
        self._count += 1
        text = self._writer.add(self._tokenizer.token_bytes(self.token))
        self.ended = self._writer.stopped
        reason: FinishReason | None = "stop" if self.ended else None
        piece = Piece(text, self._count, reason, self._row, self._likelihoods(logits))
        return [piece] if self.ended or not self.full else [piece, self.end("length")]

    @property
    def full(self) -> bool:
        """Whether the text has as many tokens as were asked for."""
        return self._count >= self._settings.max_new_tokens

    def end(self, reason: FinishReason, likelihoods: Likelihoods | None = None) -> Piece:
        """Return the last piece, with the text that was held back."""
        self.ended = True
        rest = self._writer.finish(cut=reason in ("length", "cancelled"))
        return Piece(rest, self._count, reason, self._row, likelihoods)

    def _likelihoods(self, logits: Logits) -> Likelihoods | None:
        if self._settings.logprobs is None:
            return None
        [found] = likelihoods(logits[None], [self.token], self._settings.logprobs)
        return found
