"""The choice of the next token: known probabilities, limits, and who is penalised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trainer.engine.sampling import (
    Sampler,
    distribution,
    draw,
    likelihoods,
    penalise_repetition,
)
from trainer.errors import CheckpointError
from trainer.inference.request import GenerationSettings

LOGITS = np.log(np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32))
"""Probabilities 0.1, 0.2, 0.3 and 0.4."""


def probabilities(logits: Any = LOGITS, **settings: Any) -> list[float]:
    tokens, found = distribution(logits, GenerationSettings(**{"temperature": 1.0} | settings))
    assert list(tokens) == sorted(tokens)
    whole = np.zeros(len(logits))
    whole[tokens] = found
    return whole.tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.1, 0.2, 0.3, 0.4]),
        ({"temperature": 0.5}, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        ({"top_k": 2}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_k": 1}, [0, 0, 0, 1]),
        ({"top_k": 4}, [0.1, 0.2, 0.3, 0.4]),
        ({"top_k": 10**9}, [0.1, 0.2, 0.3, 0.4]),
        ({"top_p": 0.39}, [0, 0, 0, 1]),
        ({"top_p": 0.5}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_p": 0.95}, [0.1, 0.2, 0.3, 0.4]),
        ({"top_p": 1.0}, [0.1, 0.2, 0.3, 0.4]),
        ({"top_p": 1e-300}, [0, 0, 0, 1]),
        ({"min_p": 0.6}, [0, 0, 3 / 7, 4 / 7]),
        ({"min_p": 1.0}, [0, 0, 0, 1]),
        ({"top_k": 3, "top_p": 0.7}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_p": 0.9, "min_p": 0.7}, [0, 0, 3 / 7, 4 / 7]),
        ({"temperature": 1e-300}, [0, 0, 0, 1]),
        ({"temperature": 1e300}, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_the_distribution_after_each_setting(
    settings: dict[str, Any], expected: list[float]
) -> None:
    assert probabilities(**settings) == pytest.approx(expected, abs=1e-7)


def test_equal_probabilities_do_not_pass_the_limits() -> None:
    even = np.zeros(4, dtype=np.float32)
    assert sorted(probabilities(even, top_k=2)) == [0, 0, 0.5, 0.5]
    assert sorted(probabilities(even, top_p=0.5)) == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("share", "token"), [(0.0, 1), (0.24, 1), (0.25, 5), (0.74, 5), (0.75, 7), (1 - 2**-53, 7)]
)
def test_a_token_is_drawn_by_its_share(share: float, token: int) -> None:
    assert draw(np.array([1, 5, 7]), np.array([0.25, 0.5, 0.25]), share) == token


def test_a_token_of_no_probability_is_never_drawn() -> None:
    assert draw(np.array([0, 1, 2]), np.array([0.0, 1.0, 0.0]), 0.0) == 1
    assert draw(np.array([0, 1, 2]), np.array([0.0, 1.0, 0.0]), 1 - 2**-53) == 1


# ---------------------------------------------------------------------- a text's choices


def sampler(seed: int = 0, seen: tuple[int, ...] = (), **settings: Any) -> Sampler:
    return Sampler(GenerationSettings(**settings), seed, list(seen), 4)


def test_temperature_zero_takes_the_likeliest() -> None:
    assert sampler(temperature=0).choose(LOGITS) == 3


def test_choices_follow_the_probabilities() -> None:
    fair = sampler(temperature=1.0)
    drawn = [fair.choose(LOGITS) for _ in range(4000)]
    shares = [drawn.count(token) / 4000 for token in range(4)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)


def test_the_same_seed_makes_the_same_choices() -> None:
    def choices(seed: int) -> list[int]:
        one = sampler(seed, temperature=1.0)
        return [one.choose(LOGITS) for _ in range(20)]

    assert choices(3) == choices(3)
    assert choices(3) != choices(4)


def test_repetition_makes_seen_tokens_less_likely_on_both_sides_of_zero() -> None:
    logits = np.array([2.0, -2.0, 2.0, -2.0], dtype=np.float32)
    penalised = penalise_repetition(logits, np.array([True, True, False, False]), 2.0)
    assert penalised.tolist() == [1.0, -4.0, 2.0, -2.0]
    assert logits.tolist() == [2.0, -2.0, 2.0, -2.0]


def test_the_prompt_and_what_was_chosen_count_as_seen() -> None:
    shy = sampler(seen=(3,), temperature=0, repetition_penalty=4.0)
    assert [shy.choose(LOGITS) for _ in range(3)] == [2, 1, 3]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_spoilt_weights_are_told(bad: float) -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        sampler().choose(np.array([0.0, bad], dtype=np.float32))


# ---------------------------------------------------------------------- how likely it was


def test_a_likelihood_is_the_logarithm_of_the_probability() -> None:
    chosen, top = likelihoods(LOGITS, 0, 2)
    assert [one.token for one in (chosen, *top)] == [0, 3, 2]
    logprobs = [one.logprob for one in (chosen, *top)]
    assert logprobs == pytest.approx([math.log(0.1), math.log(0.4), math.log(0.3)])


def test_there_are_no_more_alternatives_than_tokens() -> None:
    assert len(likelihoods(LOGITS, 0, 20)[1]) == 4
    assert likelihoods(LOGITS, 0, 0)[1] == []
