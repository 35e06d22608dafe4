"""Answers are kept for the next who asks, within what they may weigh."""

from __future__ import annotations

import time

from webapp.answers import AnswerCache, settled


def test_an_answer_is_made_once() -> None:
    cache = AnswerCache()
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        return b"answer"

    assert [cache.get("tag", make) for _ in range(3)] == [b"answer"] * 3
    assert len(made) == 1


def test_what_was_asked_for_longest_ago_goes_first() -> None:
    cache = AnswerCache(most_bytes=10)
    cache.get("a", lambda: b"aaaa")
    cache.get("b", lambda: b"bbbb")
    cache.get("a", lambda: b"anew")
    cache.get("c", lambda: b"cccc")
    assert cache.get("a", lambda: b"anew") == b"aaaa"
    assert cache.get("b", lambda: b"anew") == b"anew"


def test_an_answer_that_weighs_too_much_is_given_and_not_kept() -> None:
    cache = AnswerCache(most_bytes=10)
    assert cache.get("a", lambda: b"a" * 11) == b"a" * 11
    assert cache.get("a", lambda: b"anew") == b"anew"


def test_a_file_that_changed_just_now_may_change_again() -> None:
    assert settled((0, 0))
    assert settled((10**18, 4096, 0, 0))
    assert not settled((10**18, 4096, time.time_ns() + 10**9, 1))
