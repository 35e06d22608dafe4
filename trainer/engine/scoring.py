"""How likely a model finds each token of a text, read as a document.

The text stands behind an end-of-text mark, as each document did in training, so that its first
token is scored too. A text longer than the context is read in windows, as evaluations read theirs
(:func:`trainer.engine.evaluation.windows`): from the second on, a window reads the last half of
the one before again and scores what follows, so each token sees at least half a context.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from trainer.engine import words
from trainer.engine.continuation import TextCodec
from trainer.engine.decoding import Decoder
from trainer.engine.evaluation import Window, bits_per_byte, mean_loss, windows, word_perplexity
from trainer.engine.likelihoods import Likelihoods, likelihoods
from trainer.engine.sampling import refuse_spoilt
from trainer.inference.request import checked_score

CHUNK_TOKENS = 128
"""Most tokens that are read between two turns of others; bounds the logits held at once too."""


@dataclass(frozen=True)
class Scored:
    """The tokens of a text, how likely each was, and what that makes of the whole.

    ``loss`` is in nats a token, ``perplexity`` its exponential; both count tokens of this model's
    vocabulary. ``word_perplexity`` and ``bits_per_byte`` do not depend on it; the first is None
    where there is no word, or where it is too large for a number.
    """

    tokens: list[int]
    likelihoods: list[Likelihoods]
    loss: float
    perplexity: float | None
    word_perplexity: float | None
    bits_per_byte: float
    words: int
    byte_count: int


def score(
    decoder: Decoder, tokenizer: TextCodec, text: str, alternatives: int = 0
) -> Generator[tuple[int, int], None, Scored]:
    """Score a text part by part: yield the tokens done and in all, return the figures.

    Args:
        alternatives: how many of the likeliest tokens to tell at each place.

    Raises:
        UsageError: at once: the text is empty, too long or no text, or too many alternatives.
        CheckpointError: the model's answer is not finite.
    """
    checked_score(text, alternatives)
    return _scored(decoder, tokenizer, text, alternatives)


def _scored(
    decoder: Decoder, tokenizer: TextCodec, text: str, alternatives: int
) -> Generator[tuple[int, int], None, Scored]:
    tokens = tokenizer.encode(text)
    document = [tokenizer.end_of_text, *tokens]
    found: list[Likelihoods] = []
    for window in windows(len(document), decoder.context, max(1, decoder.context // 2)):
        for part in _window(decoder, tokenizer, document, window, alternatives):
            found += part
            yield len(found), len(tokens)
    return _figures(text, tokens, found)


def _window(
    decoder: Decoder, tokenizer: TextCodec, document: list[int], window: Window, alternatives: int
) -> Iterator[list[Likelihoods]]:
    """Read a window; yield what is scored with each chunk of it."""
    memory = decoder.new_cache()
    scored = window.first + window.length - window.scored
    last = window.first + window.length
    for first, end in [*_chunks(window.first, scored), *_chunks(scored, last)]:
        if end <= scored:
            decoder.read(document[first:end], memory)
            yield []
            continue
        logits = decoder.read_all(document[first:end], memory)[:, : tokenizer.vocab_size]
        refuse_spoilt(logits)
        yield likelihoods(logits, document[first + 1 : end + 1], alternatives)


def _chunks(first: int, last: int) -> Iterator[tuple[int, int]]:
    for start in range(first, last, CHUNK_TOKENS):
        yield start, min(start + CHUNK_TOKENS, last)


def _figures(text: str, tokens: list[int], found: list[Likelihoods]) -> Scored:
    nats = -math.fsum(one.chosen.logprob for one in found)
    word_count, byte_count = words.count(text), len(text.encode())
    return Scored(
        tokens=tokens,
        likelihoods=found,
        loss=mean_loss(nats, len(tokens)),
        # A perplexity of tokens is one of words where each token counts as a word.
        perplexity=word_perplexity(nats, len(tokens)),
        word_perplexity=word_perplexity(nats, word_count) if word_count else None,
        bits_per_byte=bits_per_byte(nats, byte_count),
        words=word_count,
        byte_count=byte_count,
    )
