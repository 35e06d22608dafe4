"""Numbers as people say them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trainer import formats


def test_a_time_in_a_sentence_has_no_milliseconds() -> None:
    assert formats.moment("2026-01-02T03:04:05.678Z") == "2026-01-02 03:04:05 UTC"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (None, "–"),
        (0, "0"),
        (999, "999"),
        (9999, "9,999"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (12_400_000, "12.4 M"),
        (1_500_000_000, "1.5 B"),
    ],
)
def test_counts(number: float | None, words: str) -> None:
    assert formats.count(number) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (180, "3 min"),
        (900, "15 min"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (90_000, "1 d 1 h"),
        (172_800, "2 d"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert formats.duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "–"), (4.2, "4.200"), (63.412, "63.41"), (999.6, "1,000"), (3.4e9, "3.4 B")],
)
def test_perplexities(value: float | None, words: str) -> None:
    assert formats.perplexity(value) == words


@pytest.mark.parametrize(
    ("byte_count", "words"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * 2**30, "1.5 GiB")],
)
def test_sizes(byte_count: float | None, words: str) -> None:
    assert formats.size(byte_count) == words


def test_losses_have_four_digits_and_speeds_their_unit() -> None:
    assert formats.loss(3.14159) == "3.1416"
    assert formats.speed(6120.4) == "6,120 tok/s"
    assert formats.time_left(180) == "3 min left"
    assert formats.loss(None) == formats.speed(None) == formats.time_left(None) == "–"


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("2026-01-01T12:00:00.000Z", "just now"),
        ("2026-01-01T11:59:30.000Z", "30 s ago"),
        ("2026-01-01T10:00:00.000Z", "2 h ago"),
        ("2025-12-30T12:00:00.000Z", "2 d ago"),
        ("2026-01-01T12:00:09.000Z", "just now"),
    ],
)
def test_ages(stamp: str, words: str) -> None:
    assert formats.age(stamp, datetime(2026, 1, 1, 12, tzinfo=UTC)) == words


def test_percent_stays_between_0_and_100() -> None:
    assert formats.percent(5, 10) == 50.0
    assert formats.percent(11, 10) == 100.0
    assert formats.percent(None, 10) is None
    assert formats.percent(1, 0) is None


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ([(7, 7)], "step 7"),
        ([(401, 465)], "steps 401 to 465"),
        ([(1, 1), (3, 5), (1100, 1149)], "steps 1, 3 to 5 and 1,100 to 1,149"),
        ([(1, 1), (3, 3), (5, 6), (9, 12)], "8 steps between 1 and 12"),
    ],
)
def test_steps_in_words(spans: list[tuple[int, int]], words: str) -> None:
    assert formats.steps(spans) == words
