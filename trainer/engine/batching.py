"""Texts that one model writes together: each forward pass gives every one of them a token."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from trainer.engine.continuation import Continuation, Piece, PromptRead, TextCodec
from trainer.engine.decoding import Decoder
from trainer.engine.key_values import KeyValueCache, RaggedCache
from trainer.engine.likelihoods import Likelihoods, Logits, likelihoods
from trainer.engine.sampling import refuse_spoilt, refuse_unknown
from trainer.errors import TrainerError
from trainer.inference.request import GenerationSettings

MOST_ROWS = 32
TURN_TOKENS = 128
"""Most tokens of prompts that are read in a turn: the texts under way wait for no more."""
_LEAST_COUNTED = 16
"""A shorter prompt counts as so many tokens: it hardly takes less time."""

Told = Piece | PromptRead | TrainerError
"""What a turn tells of a request: a token more, the likelihoods of its prompt, or its failure."""


@dataclass(frozen=True)
class Begun:
    """A request that was taken: its settings, now with a seed, and what is read of its prompt."""

    settings: GenerationSettings
    prompt_tokens: int
    prompt_tokens_read: int


class Batch:
    """Texts that one model writes together, whatever their lengths; they come and go at any time.

    Of a prompt longer than the context the end is read, as much as the context holds. When the
    context of a text is full, the model goes on from its last half. An empty prompt begins a new
    text. The prompt of several continuations is read once.

    A text is what its seed writes alone, but that products of several rows are rounded otherwise:
    logits differ by about 1e-6, and choices are made so that this hardly ever matters (see
    :func:`trainer.engine.sampling.draw`; none of 550 texts of 100 tokens differed).

    Each request is known by a key of the caller's and takes ``settings.n`` rows. It has ended when
    each of its rows had a :class:`Piece` with a finish reason, when a :class:`TrainerError` was
    told in place of a piece, or when it was cancelled; the key may then be used again.

    Args:
        most_rows: texts at once.
    """

    def __init__(self, decoder: Decoder, tokenizer: TextCodec, most_rows: int = MOST_ROWS) -> None:
        self._decoder, self._tokenizer, self._most_rows = decoder, tokenizer, most_rows
        self._going: list[_Text] = []
        """The texts under way; their order is that of the decoder's rows."""
        self._rows = RaggedCache(decoder.context)
        self._readings: deque[_Reading] = deque()
        self._held: list[tuple[_Text, KeyValueCache]] = []

    @property
    def free_rows(self) -> int:
        """How many more continuations fit now."""
        return self._most_rows - sum(1 for _ in self._texts())

    @property
    def idle(self) -> bool:
        """Whether there is nothing to write."""
        return not self._going and not self._readings and not self._held

    @property
    def keys(self) -> set[Hashable]:
        """The requests that have not ended."""
        return {text.key for text in self._texts()}

    @property
    def bytes(self) -> int:
        """Memory held now for what the texts have read; see :attr:`Decoder.bytes_a_row`."""
        memories = [reading.memory for reading in self._readings]
        memories += [memory for _, memory in self._held]
        return self._rows.bytes + sum(memory.bytes for memory in memories)

    def add(self, key: Hashable, settings: GenerationSettings) -> Begun:
        """Take a request; nothing of it is computed before the next turn.

        Raises:
            UsageError: a setting is wrong, or an id lies outside the vocabulary.
            ValueError: the key is under way already, or there are fewer rows free than wanted.
        """
        settings = settings.validate().with_seed()
        if key in self.keys:
            raise ValueError(f"{key!r} is under way already")
        if settings.n > self.free_rows:
            raise ValueError(f"{settings.n} rows are wanted, {self.free_rows} are free")
        prompt = prompt_tokens(settings, self._tokenizer)
        read = prompt[-self._decoder.context :]
        seen = read or [self._tokenizer.end_of_text]
        texts = [
            _Text(key, Continuation(row, self._tokenizer, settings, read), list(seen))
            for row in range(settings.n)
        ]
        alternatives = settings.logprobs if settings.prompt_logprobs and read else None
        self._read_before(texts, seen, alternatives)
        return Begun(settings, len(prompt), len(read))

    def cancel(self, key: Hashable) -> list[Piece]:
        """End a request and free its rows at once.

        Returns:
            Of each row that had not ended a piece with the text held back and the finish reason
            "cancelled"; nothing where the key is not under way.
        """
        ended = [text.continuation for text in self._texts() if text.key == key]
        pieces = [continuation.end("cancelled") for continuation in ended]
        self._sweep()
        return sorted(pieces, key=lambda piece: piece.row)

    def turn(self, held: Collection[Hashable] = ()) -> list[tuple[Hashable, Told]]:
        """Give one token to every row under way, then read on in the prompts that wait.

        Of prompts no more than :data:`TURN_TOKENS` are read, chunk by chunk and by turns. A prompt
        read to its end gives its rows their first token. A text that goes on from the last half of
        its context waits for that as prompts do.

        A request that fails (the model's answer is not finite) is told once, as a
        :class:`TrainerError` beside its key, and is gone; the others go on. Where the device itself
        fails (``RuntimeError``, ``MemoryError``), the whole batch is lost.

        Args:
            held: requests that wait this turn; they keep their place.
        """
        self._hold(held)
        return [*self._step(), *self._read(held)]

    def _hold(self, held: Collection[Hashable]) -> None:
        """Set the texts of these requests aside, and take back those of all others."""
        for row in reversed(range(len(self._going))):
            if self._going[row].key in held:
                text, memory = self._going[row], self._rows.take(row)
                self._going[row] = self._going[-1]
                self._going.pop()
                self._held.append((text, memory))
        for text, memory in self._held:
            if text.key not in held:
                self._rows.join(memory)
                self._going.append(text)
        self._held = [aside for aside in self._held if aside[0].key in held]

    def _texts(self) -> Iterator[_Text]:
        yield from self._going
        yield from (text for text, _ in self._held)
        for reading in self._readings:
            yield from reading.texts

    def _step(self) -> list[tuple[Hashable, Told]]:
        """Give one token to every text under way."""
        if not self._going:
            return []
        tokens = [text.continuation.token for text in self._going]
        logits = self._decoder.step(np.array(tokens, dtype=np.int64), self._rows)
        told = self._advance(zip(self._going, logits, strict=True))
        self._sweep()
        return told

    def _read(self, held: Collection[Hashable]) -> list[tuple[Hashable, Told]]:
        """Read on in the prompts whose turn it is, as far as a turn goes."""
        told: list[tuple[Hashable, Told]] = []
        left = TURN_TOKENS
        for reading in [one for one in self._readings if one.key not in held]:
            if left > 0:
                left -= max(reading.chunk_tokens, _LEAST_COUNTED)
                self._readings.remove(reading)
                told += self._read_chunk(reading)
        self._sweep()
        return told

    def _read_chunk(self, reading: _Reading) -> list[tuple[Hashable, Told]]:
        try:
            logits = reading.next_chunk(self._decoder)
        except TrainerError as error:
            return self._failed({reading.key: error})
        if reading.done:
            return [*reading.told(), *self._begin(reading, logits)]
        self._readings.append(reading)
        return []

    def _begin(self, reading: _Reading, logits: Logits) -> list[tuple[Hashable, Told]]:
        """Give the texts of a prompt that was read their next token, and rows to go on in."""
        told: list[tuple[Hashable, Told]] = []
        if reading.texts[0].continuation.full:
            told += [(text.key, text.continuation.end("length")) for text in reading.texts]
        else:
            told += self._advance((text, logits) for text in reading.texts)
        going = [text for text in reading.texts if not text.continuation.ended]
        for text in going:
            if len(text.tokens) > self._decoder.context:
                self._slide(text)
            else:
                self._rows.join(reading.memory)
                self._going.append(text)
        return told

    def _advance(self, expected: Iterable[tuple[_Text, Logits]]) -> list[tuple[Hashable, Told]]:
        """Choose the next token of each text; a request of which one fails ends."""
        told: list[tuple[Hashable, Told]] = []
        failures: dict[Hashable, TrainerError] = {}
        for text, logits in expected:
            try:
                told += [(text.key, piece) for piece in text.advance(logits)]
            except TrainerError as error:
                failures[text.key] = error
                text.continuation.ended = True
        return told + self._failed(failures)

    def _failed(self, failures: dict[Hashable, TrainerError]) -> list[tuple[Hashable, Told]]:
        """End the other texts of requests that failed."""
        for text in self._texts():
            text.continuation.ended |= text.key in failures
        return list(failures.items())

    def _sweep(self) -> None:
        """Take the rows of texts that have ended, and of those that must be read anew."""
        for row in reversed(range(len(self._going))):
            text = self._going[row]
            if text.continuation.ended or len(text.tokens) > self._decoder.context:
                self._rows.leave(row)
                self._going[row] = self._going[-1]
                self._going.pop()
                if not text.continuation.ended:
                    self._slide(text)
        self._held = [aside for aside in self._held if not aside[0].continuation.ended]
        for reading in self._readings:
            reading.texts = [text for text in reading.texts if not text.continuation.ended]
        self._readings = deque(reading for reading in self._readings if reading.texts)

    def _slide(self, text: _Text) -> None:
        """Have a text go on from the last half of a full context."""
        text.tokens = text.tokens[-max(1, self._decoder.context // 2) :]
        self._read_before([text], text.tokens)

    def _read_before(
        self, texts: list[_Text], tokens: list[int], alternatives: int | None = None
    ) -> None:
        memory = self._decoder.new_cache()
        vocabulary = self._tokenizer.vocab_size
        self._readings.append(_Reading(texts, list(tokens), memory, vocabulary, alternatives))


@dataclass
class _Text:
    """A continuation with the tokens that the model sees: those of its last ``context``."""

    key: Hashable
    continuation: Continuation
    tokens: list[int]

    def advance(self, logits: Logits) -> list[Piece]:
        """Choose one more token."""
        pieces = self.continuation.advance(logits)
        self.tokens.append(self.continuation.token)
        return pieces


class _Reading:
    """Tokens that are read, chunk by chunk, before texts can go on behind them.

    Args:
        texts: which begin with these tokens, all of one request.
        alternatives: how many of the likeliest tokens to keep beside each token; None: nothing.
    """

    def __init__(
        self,
        texts: list[_Text],
        tokens: list[int],
        memory: KeyValueCache,
        vocabulary: int,
        alternatives: int | None,
    ) -> None:
        self.key, self.texts, self.memory = texts[0].key, texts, memory
        self._tokens, self._vocabulary, self._alternatives = tokens, vocabulary, alternatives
        self._likelihoods: list[Likelihoods | None] = [None]

    @property
    def done(self) -> bool:
        """Whether all is read."""
        return self.memory.length == len(self._tokens)

    @property
    def chunk_tokens(self) -> int:
        """How many are read next."""
        return min(TURN_TOKENS, len(self._tokens) - self.memory.length)

    def next_chunk(self, decoder: Decoder) -> Logits:
        """Read on; return the logits (V,) of what follows.

        Raises:
            CheckpointError: likelihoods are wanted, and the model's answer is not finite.
        """
        first = self.memory.length
        chunk = self._tokens[first : first + self.chunk_tokens]
        if self._alternatives is None:
            return decoder.read(chunk, self.memory)
        logits = decoder.read_all(chunk, self.memory)[:, : self._vocabulary]
        refuse_spoilt(logits)
        following = self._tokens[first + 1 : first + 1 + len(chunk)]
        found = likelihoods(logits[: len(following)], following, self._alternatives)
        self._likelihoods += found
        last: Logits = logits[-1]
        return last

    def told(self) -> list[tuple[Hashable, Told]]:
        """Return the likelihoods, where they were wanted."""
        if self._alternatives is None:
            return []
        return [(self.key, PromptRead(self._tokens, self._likelihoods))]


def prompt_tokens(settings: GenerationSettings, tokenizer: TextCodec) -> list[int]:
    """Return the tokens of a prompt, given as text or as ids.

    Raises:
        UsageError: an id lies outside the vocabulary.
    """
    if settings.prompt_tokens is None:
        return tokenizer.encode(settings.prompt)
    refuse_unknown("prompt_tokens", settings.prompt_tokens, tokenizer.vocab_size)
    return list(settings.prompt_tokens)
