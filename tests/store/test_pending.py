"""Rows keep their order on the way to the database; only readings may be given up."""

from __future__ import annotations

from trainer.store.pending import CUT, PendingRows


def filled(*tables: str) -> PendingRows:
    pending = PendingRows()
    for number, table in enumerate(tables):
        pending.add(table, {"n": number})
    return pending


def taken(pending: PendingRows, most: int = 100) -> list[list[int]]:
    batches: list[list[int]] = []
    while True:
        rows, count = pending.first(most)
        if not count:
            return batches
        batches.append([row["n"] for _, row in rows])
        pending.settle(count)


def test_rows_leave_in_the_order_they_came() -> None:
    assert taken(filled("points", "events", "points"), most=2) == [[0, 1], [2]]


def test_a_cut_is_taken_alone() -> None:
    assert taken(filled("points", CUT, "points", CUT, CUT)) == [[0], [1], [2], [3], [4]]


def test_readings_are_given_up_and_nothing_else() -> None:
    pending = filled("points", "system", "events", "system")
    assert pending.drop_readings() == 2
    assert len(pending) == 2
    assert pending.drop_readings() == 0
    assert taken(pending) == [[0, 2]]
    assert (pending.added, pending.settled, len(pending)) == (4, 4, 0)
