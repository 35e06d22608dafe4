"""Embeddings from the company that tokens keep."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainer.engine import cooccurrence
from trainer.engine.cooccurrence import count_neighbours, embedding, mutual_information_

CPU = torch.device("cpu")


def test_neighbours_count_less_the_further_they_are() -> None:
    # 0 is the most frequent token and so the first context, 1 and 2 follow in their order.
    counts = count_neighbours(torch.tensor([0, 1, 0, 2]), vocab_size=3)
    beside, one_off, two_off = 12.0, 6.0, 4.0
    assert counts.tolist() == [
        [2 * one_off, 2 * beside, beside + two_off],
        [2 * beside, 0.0, one_off],
        [beside + two_off, one_off, 0.0],
    ]


def test_only_frequent_tokens_are_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "_MOST_CONTEXTS", 1)
    counts = count_neighbours(torch.tensor([2, 1, 2, 0]), vocab_size=3)
    assert counts.tolist() == [[12.0 + 4.0], [24.0], [12.0]]


def test_information_is_what_is_beyond_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "_CONTEXT_SMOOTHING", 1.0)
    information = mutual_information_(torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
    # Three of eight where two of eight would be chance; one of eight is less than chance.
    assert information.tolist() == [
        [pytest.approx(math.log(1.5)), 0.0],
        [0.0, pytest.approx(math.log(1.5))],
    ]


def test_tokens_that_keep_the_same_company_are_alike() -> None:
    # 1 and 2 stand between 3 and 4; 5 and 6 between 7 and 8; 9 does not occur.
    random = np.random.RandomState(0)
    phrases = [[3, 1, 4], [3, 2, 4], [7, 5, 8], [7, 6, 8]]
    text = np.array([i for n in random.randint(4, size=500) for i in phrases[n]], dtype=np.uint16)
    vectors = embedding(text, 10, 4, seed=1, device=CPU)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    assert unit[1] @ unit[2] > 0.95
    assert abs(float(unit[1] @ unit[5])) < 0.5
    assert vectors[9].abs().max() < 1e-6
    assert float(vectors.std()) == pytest.approx(cooccurrence.EMBEDDING_STD)


def test_the_same_text_and_seed_give_the_same_embeddings() -> None:
    text = np.random.RandomState(0).randint(20, size=400).astype(np.uint16)
    first, again = (embedding(text, 20, 8, seed=7, device=CPU) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, embedding(text, 20, 8, seed=8, device=CPU))


def test_a_model_may_be_wider_than_the_vocabulary_is_large() -> None:
    vectors = embedding(np.array([0, 1, 2, 0, 1], dtype=np.uint16), 3, 8, seed=1, device=CPU)
    assert vectors.shape == (3, 8)
    assert vectors.isfinite().all()


def test_a_text_of_one_token_gives_zeros() -> None:
    vectors = embedding(np.zeros(9, dtype=np.uint16), 3, 8, seed=1, device=CPU)
    assert vectors.isfinite().all()
