"""What can be asked of a model that writes is checked first, and refused in words."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trainer.errors import UsageError
from trainer.inference.request import MAX_SEED, GenerationSettings, row_seed, scored_text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": 3}, "prompt = 3 is not text."),
        ({"prompt": None}, "prompt = None is not text."),
        ({"prompt": "x" * (2**22 + 1)}, "prompt is 4,194,305 characters long"),
        ({"prompt": "ab\ud800"}, "prompt is not valid Unicode: a lone surrogate at character 2."),
        ({"stop": ["ok", "\udfff"]}, "stop is not valid Unicode: a lone surrogate at character 0."),
        ({"max_new_tokens": 0}, "max_new_tokens = 0 is not a whole number from 1 to 100000."),
        ({"max_new_tokens": -1}, "max_new_tokens = -1 is not a whole number from 1 to 100000."),
        ({"max_new_tokens": 100_001}, "max_new_tokens = 100001 is not"),
        ({"max_new_tokens": 2.5}, "max_new_tokens = 2.5 is not"),
        ({"max_new_tokens": True}, "max_new_tokens = True is not"),
        ({"max_new_tokens": "5"}, "max_new_tokens = '5' is not"),
        ({"temperature": -0.1}, "temperature = -0.1 is not a number of 0 or more."),
        ({"temperature": math.nan}, "temperature = nan is not"),
        ({"temperature": math.inf}, "temperature = inf is not"),
        ({"temperature": None}, "temperature = None is not"),
        ({"top_k": -1}, "top_k = -1 is not a whole number of 0 or more."),
        ({"top_p": 0}, "top_p = 0 is not a number above 0 and up to 1."),
        ({"top_p": 1.1}, "top_p = 1.1 is not"),
        ({"min_p": math.nan}, "min_p = nan is not a number from 0 to 1."),
        ({"repetition_penalty": 0}, "repetition_penalty = 0 is not a number above 0."),
        ({"seed": -1}, "seed = -1 is not a whole number from 0"),
        ({"seed": 2**63}, "seed = 9223372036854775808 is not"),
        ({"stop": [""]}, "stop has an empty text: it would end every text before it begins."),
        ({"stop": ["x", 1]}, "stop = ['x', 1] is not a list of texts."),
        ({"stop": "x"}, "stop = 'x' is not a list"),
        ({"stop": ["x"] * 17}, "stop has 17 texts: at most 16 are allowed."),
        ({"n": 0}, "n = 0 is not a whole number from 1 to 32."),
        ({"n": 33}, "n = 33 is not"),
        ({"n": None}, "n = None is not"),
        ({"logprobs": -1}, "logprobs = -1 is not a whole number from 0 to 20."),
        ({"logprobs": 21}, "logprobs = 21 is not"),
        ({"logprobs": True}, "logprobs = True is not"),
        ({"n": 33}, "For more, ask again with another seed."),
        ({"n": 10**5000}, "n = a number of 16,610 bits is not"),
        ({"temperature": 10**400}, "is not a number of 0 or more."),
        ({"prompt": "a", "prompt_tokens": [1]}, "prompt and prompt_tokens are both given"),
        ({"prompt_tokens": 3}, "prompt_tokens = 3 is not a list of ids of the vocabulary"),
        ({"prompt_tokens": [1, -1]}, "prompt_tokens[1] = -1 is not an id of 0 or more."),
        ({"prompt_tokens": [True]}, "prompt_tokens[0] = True is not an id"),
        ({"prompt_tokens": [1, "2"]}, "prompt_tokens[1] = '2' is not an id"),
        ({"prompt_tokens": [1.0]}, "prompt_tokens[0] = 1.0 is not an id"),
        ({"prompt_tokens": [2**40]}, "prompt_tokens[0] = 1099511627776 is not an id"),
        ({"presence_penalty": 2.1}, "presence_penalty = 2.1 is not a number from -2 to 2."),
        ({"frequency_penalty": "1"}, "frequency_penalty = '1' is not a number from -2 to 2."),
        ({"frequency_penalty": math.nan}, "frequency_penalty = nan is not"),
        ({"presence_penalty": True}, "presence_penalty = True is not"),
        ({"logit_bias": [1]}, "logit_bias = [1] is not an object of ids and numbers."),
        ({"logit_bias": {"x": 1}}, "An id of logit_bias = 'x' is not a whole number of 0 or more."),
        ({"logit_bias": {"-1": 1}}, "An id of logit_bias = '-1' is not"),
        ({"logit_bias": {True: 1}}, "An id of logit_bias = True is not"),
        ({"logit_bias": {5: 101}}, "logit_bias[5] = 101 is not a number from -100 to 100."),
        ({"logit_bias": {"5": None}}, "logit_bias[5] = None is not"),
        ({"logit_bias": dict.fromkeys(range(1025), 1)}, "logit_bias has 1,025 entries"),
        ({"prompt_logprobs": 1, "logprobs": 1}, "prompt_logprobs = 1 is not true or false."),
        ({"prompt_logprobs": True}, "prompt_logprobs needs logprobs"),
        ({"max_new_tokens": 0.0, "logprobs": 1, "prompt_logprobs": True}, "max_new_tokens = 0.0"),
        ({"heat": 1}, "There is no generation setting 'heat'."),
    ],
)
def test_a_wrong_setting_is_told_in_words(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        GenerationSettings.from_values(values)
    assert words in refused.value.message


def test_all_wrong_settings_are_told_together() -> None:
    with pytest.raises(UsageError, match=r"temperature = -1 .* top_k = -1 "):
        GenerationSettings(temperature=-1, top_k=-1).validate()


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"temperature": 0, "top_k": 10**9, "top_p": 1, "min_p": 1.0},
        {"seed": 0, "stop": ["\n\n", "END"]},
        {"repetition_penalty": 0.5, "max_new_tokens": 100_000},
        {"n": 32, "logprobs": 20},
        {"logprobs": 0},
        {"prompt_tokens": [], "presence_penalty": -2, "frequency_penalty": 2.0},
        {"logit_bias": {"5": -100, "7": 100}},
        {"logit_bias": {}},
        {"max_new_tokens": 0, "logprobs": 0, "prompt_logprobs": True},
    ],
)
def test_right_settings_pass(values: dict[str, Any]) -> None:
    GenerationSettings.from_values(values)


def test_a_seed_is_drawn_when_none_is_given() -> None:
    seeds = {GenerationSettings().with_seed().seed for _ in range(20)}
    assert len(seeds) > 1
    assert None not in seeds
    assert GenerationSettings(seed=4).with_seed().seed == 4


def test_the_seeds_of_several_texts_count_up_and_stay_seeds() -> None:
    assert [row_seed(7, row) for row in range(3)] == [7, 8, 9]
    assert row_seed(MAX_SEED, 1) == 0


def test_what_was_typed_is_called_as_it_was_typed() -> None:
    with pytest.raises(UsageError, match="--num-samples = 0 is not"):
        GenerationSettings.from_values({"n": 0}, {"n": "--num-samples"})


@pytest.mark.parametrize(
    ("given", "scored"),
    [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("a\r", "a\r"),
        ("\n", ""),
        ("", ""),
    ],
)
def test_one_line_break_at_the_end_is_not_scored(given: str, scored: str) -> None:
    assert scored_text(given) == scored
