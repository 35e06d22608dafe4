"""A form that is sent twice."""

from __future__ import annotations

import threading

import pytest

from webapp import submissions
from webapp.submissions import Submissions


def test_the_second_sending_gets_the_answer_of_the_first() -> None:
    acts: list[str] = []

    def act() -> str:
        acts.append("once")
        return f"run-{len(acts)}"

    sent = Submissions()
    assert [sent.once("a", act), sent.once("a", act), sent.once("b", act)] == [
        "run-1",
        "run-1",
        "run-2",
    ]


def test_two_sendings_at_once_act_once() -> None:
    begun, go_on, answers, acts = threading.Event(), threading.Event(), list[str](), list[str]()
    sent = Submissions()

    def act() -> str:
        begun.set()
        go_on.wait(10)
        acts.append("act")
        return "run"

    threads = [threading.Thread(target=lambda: answers.append(sent.once("a", act))) for _ in "12"]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (answers, acts) == (["run", "run"], ["act"])


def test_a_sending_that_failed_can_be_repeated() -> None:
    sent = Submissions()

    def fail() -> str:
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        sent.once("a", fail)
    assert sent.once("a", lambda: "run") == "run"


def test_without_a_token_every_sending_acts() -> None:
    sent, count = Submissions(), iter("12")
    assert [sent.once("", lambda: next(count)), sent.once("", lambda: next(count))] == ["1", "2"]


def test_only_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MOST_REMEMBERED", 2)
    sent = Submissions()
    for token in "abc":
        sent.once(token, lambda: "first")
    assert [sent.once(token, lambda: "second") for token in "ca"] == ["first", "second"]
