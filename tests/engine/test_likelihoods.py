"""How likely a token was: the model's own probabilities, and the likeliest others."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trainer.engine.likelihoods import likelihoods

LOGITS = np.log(np.array([[1, 2, 3, 4], [4, 4, 1, 1]], dtype=np.float32))
"""Probabilities 0.1, 0.2, 0.3 and 0.4; then 0.4, 0.4, 0.1 and 0.1."""


def test_a_likelihood_is_the_logarithm_of_the_probability() -> None:
    first, second = likelihoods(LOGITS, [0, 3], 2)
    assert [one.token for one in (first.chosen, *first.top)] == [0, 3, 2]
    logprobs = [one.logprob for one in (first.chosen, *first.top)]
    assert logprobs == pytest.approx([math.log(0.1), math.log(0.4), math.log(0.3)])
    assert second.chosen.token == 3
    assert second.chosen.logprob == pytest.approx(math.log(0.1))


def test_of_equally_likely_tokens_the_first_comes_first() -> None:
    assert [one.token for one in likelihoods(LOGITS[1:], [0], 2)[0].top] == [0, 1]


def test_there_are_no_more_alternatives_than_tokens() -> None:
    assert len(likelihoods(LOGITS[:1], [0], 20)[0].top) == 4
    assert likelihoods(LOGITS[:1], [0], 0)[0].top == []


def test_large_logits_do_not_overflow() -> None:
    [found] = likelihoods(np.array([[1e30, 0.0]], dtype=np.float32), [0], 1)
    assert found.chosen.logprob == 0.0
