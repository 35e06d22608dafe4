"""What waits for a slow reader: nothing is lost, nothing grows without bound, nobody waits."""

from __future__ import annotations

import threading
from typing import Any

from trainer.inference.backlog import Backlog

PATIENCE_SECONDS = 120.0


def token(text: str, tokens: int, row: int = 0, job: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": job, "type": "token", "row": row, "text": text, "tokens": tokens, **more}


def taken(backlog: Backlog) -> list[dict[str, Any]]:
    backlog.close()
    found = []
    while (event := backlog.take()) is not None:
        found.append(event)
    return found


def test_a_reader_that_keeps_up_gets_each_event_as_it_was() -> None:
    backlog = Backlog()
    for event in (token("a", 1), token("b", 2)):
        backlog.put(event)
        assert backlog.take() == event


def test_tokens_that_wait_are_told_together_row_by_row() -> None:
    backlog = Backlog()
    for event in (
        token("a", 1, logprobs=["A"]),
        token("x", 1, row=1, logprobs=["X"]),
        token("b", 2, logprobs=["B"]),
        token("other", 1, job=2),
        token("", 3, logprobs=["C"]),
        {"id": 1, "type": "done", "text": "ab"},
    ):
        backlog.put(event)
    assert taken(backlog) == [
        token("ab", 3, logprobs=["A", "B", "C"]),
        token("x", 1, row=1, logprobs=["X"]),
        token("other", 1, job=2),
        {"id": 1, "type": "done", "text": "ab"},
    ]


def test_of_progress_that_waits_the_last_counts() -> None:
    backlog = Backlog()
    for done in (1, 2, 3):
        backlog.put({"id": 1, "type": "progress", "done": done})
    assert taken(backlog) == [{"id": 1, "type": "progress", "done": 3}]


def test_a_thousand_tokens_that_wait_are_one_event() -> None:
    backlog = Backlog()
    for count in range(1, 1001):
        backlog.put(token("x", count))
    assert taken(backlog) == [token("x" * 1000, 1000)]


def test_a_reader_is_behind_until_it_has_taken_half() -> None:
    told: list[str] = []
    backlog = Backlog(4, lambda: told.append("caught up"))
    for row in range(4):
        backlog.put(token("x", 1, row=row))
    assert backlog.behind
    backlog.take()
    assert backlog.behind
    backlog.take()
    assert not backlog.behind
    assert told == ["caught up"]


def test_what_waits_for_nobody_is_dropped() -> None:
    backlog = Backlog()
    backlog.put(token("a", 1))
    backlog.close(drop=True)
    backlog.put(token("b", 2))
    assert backlog.take() is None


def test_tokens_gather_until_something_else_is_told() -> None:
    backlog = Backlog()
    reader = threading.Thread(target=backlog.gather, args=[PATIENCE_SECONDS])
    reader.start()
    for event in (token("a", 1), token("b", 2), {"id": 1, "type": "done", "text": "ab"}):
        backlog.put(event)
    reader.join(PATIENCE_SECONDS / 2)
    assert not reader.is_alive()
    assert taken(backlog) == [token("ab", 2), {"id": 1, "type": "done", "text": "ab"}]


def test_nobody_gathers_for_a_reader_that_has_left() -> None:
    backlog = Backlog()
    backlog.close()
    backlog.gather(PATIENCE_SECONDS)
    assert backlog.take() is None
