"""The choice of the next token: known probabilities, limits, and who is penalised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainer.engine.sampling import (
    Bias,
    Sampler,
    distribution,
    draw,
    exponential_waits,
    penalise_repetition,
    penalise_written,
)
from trainer.errors import CheckpointError, UsageError
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
        ({"top_k": 0, "min_p": 0.0, "top_p": 1}, [0.1, 0.2, 0.3, 0.4]),
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


def test_the_first_to_arrive_is_drawn() -> None:
    """Waits of 1, 3 and 1.5 shrink to 4, 6 and 6 by the probabilities; the first of equals wins."""
    tokens, probabilities = np.array([1, 5, 7]), np.array([0.25, 0.5, 0.25], dtype=np.float32)
    assert draw(tokens, probabilities, np.array([1.0, 3.0, 1.5], dtype=np.float32)) == 1
    assert draw(tokens, probabilities, np.array([2.0, 3.0, 1.5], dtype=np.float32)) == 5


def test_a_token_of_no_probability_is_never_drawn() -> None:
    probabilities = np.array([0.0, 1.0, 0.0], dtype=np.float32)
    waits = np.array([1e-9, 30.0, 1.0], dtype=np.float32)
    assert draw(np.arange(3), probabilities, waits) == 1


def test_waits_are_exponential_finite_and_never_nothing() -> None:
    waits = exponential_waits(np.random.PCG64(1), 200_001)
    assert (len(waits), waits.dtype) == (200_001, np.dtype(np.float32))
    assert waits.mean() == pytest.approx(1.0, abs=0.01)
    assert (waits < math.log(2)).mean() == pytest.approx(0.5, abs=0.005)
    for extreme, wait in ((0, 2**-33), (2**64 - 1, 16.6)):
        bits = FixedBits(extreme)
        assert exponential_waits(bits, 3).tolist() == pytest.approx([wait] * 3, rel=0.01)


def test_what_is_next_to_impossible_is_not_drawn() -> None:
    """One of 8,192 tokens is all but certain: a wait that is too short by chance must not win."""
    logits = np.zeros(8192, dtype=np.float32)
    logits[17] = 30.0
    one = Sampler(GenerationSettings(temperature=1.0), 5, [], 8192)
    assert {one.choose(logits) for _ in range(3000)} == {17}


def test_the_last_digits_of_probabilities_do_not_decide() -> None:
    """Along sums of these, one text in thirty took another way within a hundred tokens."""
    random = np.random.default_rng(1)
    logits = random.normal(size=8192).astype(np.float32)
    rounded = logits + random.normal(size=8192).astype(np.float32) * 1e-6
    one, other = (Sampler(GenerationSettings(), 3, [], 8192) for _ in range(2))
    assert [one.choose(logits) for _ in range(300)] == [other.choose(rounded) for _ in range(300)]


class FixedBits(np.random.PCG64):
    """A source of random bits that are not random."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def random_raw(self, size: int) -> Any:  # type: ignore[override]  # numpy's has more cases
        return np.full(size, self.bits, dtype=np.uint64)


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


# ---------------------------------------------------------------------- what was written


def test_presence_is_taken_once_and_frequency_for_each_time() -> None:
    logits = np.array([1.0, 1.0, 1.0], dtype=np.float32)
    written = np.array([0, 1, 3], dtype=np.float32)
    assert penalise_written(logits, written, 0.5, 0.0).tolist() == [1.0, 0.5, 0.5]
    assert penalise_written(logits, written, 0.0, 0.25).tolist() == [1.0, 0.75, 0.25]
    assert penalise_written(logits, written, 0.5, 0.25).tolist() == [1.0, 0.25, -0.25]
    assert penalise_written(logits, written, -1.0, 0.0).tolist() == [1.0, 2.0, 2.0]


def test_penalties_count_what_was_written_and_not_the_prompt() -> None:
    """From logarithms of 1, 2, 3 and 4: what was written loses more than all that lies between."""
    shy = sampler(seen=(3,), temperature=0, presence_penalty=2.0)
    assert [shy.choose(LOGITS) for _ in range(4)] == [3, 2, 1, 0]
    often = sampler(temperature=0, frequency_penalty=0.2)
    assert [often.choose(LOGITS) for _ in range(4)] == [3, 3, 2, 3]


# ---------------------------------------------------------------------- a bias


def test_a_bias_is_added_and_the_extremes_ban_and_force() -> None:
    assert Bias({1: 2.5, 2: -1.0}, 4)(np.zeros(4, dtype=np.float32)).tolist() == [0, 2.5, -1, 0]
    assert sampler(temperature=0, logit_bias={3: -100}).choose(LOGITS) == 2
    assert sampler(temperature=1e6, logit_bias={0: 100}).choose(LOGITS) == 0
    forced = sampler(temperature=1.0, logit_bias={0: 100, 1: 100, 3: 5})
    assert {forced.choose(LOGITS) for _ in range(50)} == {0, 1}


def test_a_ban_holds_with_every_other_setting() -> None:
    values: dict[str, Any] = {"logit_bias": {0: -100, 1: -100, 2: -100}, "top_k": 4, "min_p": 0.1}
    only = sampler(temperature=100.0, top_p=0.9, repetition_penalty=1e-300, **values)
    assert {only.choose(LOGITS) for _ in range(20)} == {3}


def test_a_bias_that_cannot_be_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UsageError, match="logit_bias has the id 4, which") as unknown:
        sampler(logit_bias={0: 1, 4: 1})
    assert unknown.value.hint == "The vocabulary has 4 entries: ids are from 0 to 3."
    with pytest.raises(UsageError, match="logit_bias bans every token"):
        sampler(logit_bias=dict.fromkeys(range(4), -100))


@given(
    logits=arrays(np.float32, 6, elements=st.floats(-1e4, 1e4, width=32)),
    values=st.fixed_dictionaries(
        {
            "temperature": st.sampled_from([0.0, 1e-300, 0.7, 1e300]),
            "top_k": st.sampled_from([None, 1, 3]),
            "top_p": st.sampled_from([None, 1e-9, 0.5, 1.0]),
            "min_p": st.sampled_from([None, 0.5, 1.0]),
            "repetition_penalty": st.sampled_from([None, 1e-300, 1.5, 1e300]),
            "presence_penalty": st.sampled_from([None, -2, 2]),
            "frequency_penalty": st.sampled_from([None, -2, 2]),
            "logit_bias": st.dictionaries(st.integers(0, 4), st.sampled_from([-100, -1, 7, 100])),
        }
    ),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_settings_a_token_is_chosen_that_is_not_banned(
    logits: np.ndarray, values: dict[str, Any]
) -> None:
    one = Sampler(GenerationSettings(**values).validate(), 1, [0, 1], 6)
    bias = values["logit_bias"]
    forced = {token for token, added in bias.items() if added == 100}
    banned = {token for token, added in bias.items() if added == -100}
    assert {one.choose(logits) for _ in range(4)} <= (forced or set(range(6)) - banned)
