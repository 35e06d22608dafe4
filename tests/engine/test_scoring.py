"""How likely a model finds a text: token by token, and as the evaluation would say it."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.engine.test_generation import CPU, ByteCodec
from trainer.config import ModelShape
from trainer.engine import evaluation, scoring
from trainer.engine.decoding import Decoder, HostDecoder
from trainer.engine.evaluation import Evaluation
from trainer.engine.model import GPT
from trainer.engine.scoring import Scored, score
from trainer.errors import CheckpointError, UsageError

CONTEXT = 16
LONG = "A text that is longer than the context.\nWith a second line, and a Euro: \u20ac.\n"


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(5)
    model = GPT(ModelShape(2, 32, 4, 2, 48), 257, CONTEXT).eval()
    nn.init.normal_(model.embedding.weight, std=0.5)
    return model


def scored(decoder: Decoder, text: str, alternatives: int = 0) -> tuple[Scored, list[int]]:
    """Return the figures, and how many tokens were done at each turn."""
    turns, done = score(decoder, ByteCodec(), text, alternatives), []
    while True:
        try:
            done.append(next(turns)[0])
        except StopIteration as end:
            return end.value, done


def evaluated(model: GPT, text: str, words: int) -> Evaluation | None:
    data = text.encode()
    return evaluation.evaluate(
        model,
        np.array([ByteCodec.end_of_text, *data]),
        seq_length=CONTEXT,
        stride=CONTEXT // 2,
        words=words,
        byte_count=len(data),
        batch_size=4,
        device=CPU,
        autocast=contextlib.nullcontext,
    )


@pytest.mark.parametrize("text", ["x", "Hello", LONG])
def test_the_figures_are_those_of_the_evaluation(
    text: str, model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "CHUNK_TOKENS", 5)
    for decoder in (HostDecoder(model), Decoder(model, CPU, contextlib.nullcontext)):
        found, done = scored(decoder, text)
        words = len(text.split()) + text.count("\n")
        expected = evaluated(model, text, words)
        assert expected is not None
        assert (found.words, found.byte_count) == (words, len(text.encode()))
        assert found.loss == pytest.approx(expected.loss, rel=1e-5)
        assert found.word_perplexity == pytest.approx(expected.word_perplexity, rel=1e-3)
        assert found.bits_per_byte == pytest.approx(expected.bits_per_byte, rel=1e-5)
        assert found.perplexity == pytest.approx(math.exp(expected.loss), rel=1e-4)
        assert done == sorted(done)
        assert done[-1] == len(found.tokens) == len(text.encode())


def test_each_token_is_scored_behind_those_before_it(model: GPT) -> None:
    found, _ = scored(HostDecoder(model), "Hello", alternatives=3)
    document = [ByteCodec.end_of_text, *b"Hello"]
    expected = model(torch.tensor([document]))[0].detach().log_softmax(-1)
    for place, one in enumerate(found.likelihoods):
        token = document[place + 1]
        assert (one.chosen.token, found.tokens[place]) == (token, token)
        assert one.chosen.logprob == pytest.approx(float(expected[place, token]), abs=1e-4)
        assert [other.token for other in one.top] == expected[place].topk(3).indices.tolist()


def test_beyond_the_context_each_token_sees_at_least_half_of_it(model: GPT) -> None:
    found, _ = scored(HostDecoder(model), LONG)
    document = [ByteCodec.end_of_text, *LONG.encode()]
    # The second window reads from token 8 to 23 and scores the tokens from 17 on.
    expected = model(torch.tensor([document[8:17]]))[0, -1].detach().log_softmax(-1)
    one = found.likelihoods[16].chosen
    assert one.logprob == pytest.approx(float(expected[document[17]]), abs=1e-4)


def test_a_text_without_a_word_has_no_word_perplexity(model: GPT) -> None:
    found, _ = scored(HostDecoder(model), "  ")
    assert (found.words, found.word_perplexity) == (0, None)
    assert found.perplexity == pytest.approx(math.exp(found.loss))


@pytest.mark.parametrize(
    ("text", "alternatives", "words"),
    [
        ("", 0, "text is empty: there is nothing to score."),
        (3, 0, "text = 3 is not text."),
        ("a\ud800", 0, "text is not valid Unicode"),
        ("x" * (2**20 + 1), 0, "text is 1,048,577 characters long: at most 1,048,576 are allowed."),
        ("a", 21, "alternatives = 21 is not a whole number from 0 to 20."),
        ("a", True, "alternatives = True is not"),
    ],
)
def test_what_cannot_be_scored_is_told_at_once(
    text: Any, alternatives: Any, words: str, model: GPT
) -> None:
    with pytest.raises(UsageError) as refused:
        score(HostDecoder(model), ByteCodec(), text, alternatives)
    assert words in refused.value.message


def test_spoilt_weights_are_told(model: GPT) -> None:
    nn.init.constant_(model.norm.weight, math.nan)
    with pytest.raises(CheckpointError, match="weights of this checkpoint are spoilt"):
        scored(HostDecoder(model), "Hi")
