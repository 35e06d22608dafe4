"""What is said of written and scored texts, and of the surprise of their tokens."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from trainer.inference import surprise, typed
from trainer.inference.telling import (
    Figure,
    best_value,
    report_words,
    score_words,
    unread_prompt_words,
)

CASES = json.loads(Path(__file__).with_name("token_cases.json").read_text(encoding="utf-8"))
BESTS = [(case["measured"], case["best"]) for case in CASES["bests"]]


def entry(data: bytes, logprob: float = 0.0) -> dict[str, Any]:
    return {"bytes": list(data), "logprob": logprob}


def test_a_report_says_length_pace_seed_and_end() -> None:
    told = {"tokens": 1, "seed": 7, "finish_reason": "end_of_text"}
    assert report_words(told, 1234.5) == "1 token · 1,234 tok/s · seed 7 · ended its text"
    assert report_words(told | {"tokens": 2000}) == "2,000 tokens · seed 7 · ended its text"


def test_a_prompt_that_was_read_whole_is_not_mentioned() -> None:
    assert unread_prompt_words({"prompt_tokens": 5, "prompt_tokens_read": 5}) == ""
    assert unread_prompt_words({"prompt_tokens": 1200, "prompt_tokens_read": 256}) == (
        "The prompt has 1,200 tokens; the model read the last 256."
    )


def test_a_score_in_a_line_leaves_out_what_is_not_known() -> None:
    score = {"perplexity": 12.34, "word_perplexity": 98.7, "bits_per_byte": 1.5, "tokens": [0]}
    assert score_words(score) == (
        "perplexity 12.34 · word perplexity 98.70 · 1.5000 bits a byte · 1 token"
    )
    assert "word" not in score_words(score | {"word_perplexity": None})


@pytest.mark.parametrize(("measured", "best"), BESTS)
def test_the_best_is_the_lowest_of_what_compares(
    measured: list[tuple[float | None, str, int]], best: str | None
) -> None:
    figures = [Figure("", "", value, "", amount, parts) for amount, value, parts in measured]
    assert best_value(figures) == best


@pytest.mark.parametrize(
    ("probability", "bits", "level", "share"),
    [
        (1.0, 0.0, 0, "100 %"),
        (0.5, 1.0, 0, "50 %"),
        (0.1, 3.321928, 1, "10 %"),
        (1 / 64, 6.0, 2, "1.6 %"),
        (1 / 1000, 9.965784, 3, "0.10 %"),
        (1 / 4096, 12.0, 4, "0.024 %"),
        (1e-5, 16.609640, 4, "< 0.01 %"),
    ],
)
def test_a_surprise_in_bits_as_a_tint_and_as_a_share(
    probability: float, bits: float, level: int, share: str
) -> None:
    logprob = math.log(probability)
    assert surprise.bits(logprob) == pytest.approx(bits)
    assert surprise.level_of(bits) == level
    assert surprise.share(logprob) == share


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b" the", "·the"),
        ("é\n\t".encode(), "é↵→"),
        (b"\xc3", "<C3>"),
        (b"a\x1b[2J", "a<1B>[2J"),
        (b"", "end of text"),
    ],
)
def test_each_character_of_a_token_is_seen(data: bytes, seen: str) -> None:
    assert surprise.visible(entry(data)) == seen


def test_a_character_of_several_tokens_belongs_to_the_last_of_them() -> None:
    tokens = [entry(b"a\xe4"), entry(b"\xb8"), entry(b"\x96b"), entry(b"c")]
    assert surprise.spans(tokens) == [(0, 1), (1, 1), (1, 3), (3, 4)]


def test_settings_as_they_are_typed() -> None:
    assert [typed.number(text) for text in ("5", " .5", "1e3", "warm")] == [5, 0.5, 1000.0, "warm"]
    assert typed.stop_text(r"a\n\tb\\n") == "a\n\tb\\n"
