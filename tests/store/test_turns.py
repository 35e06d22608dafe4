"""Whose turn it is, worked out by hand on made-up places."""

from __future__ import annotations

import pytest

from trainer.store.records import QueueStanding
from trainer.store.turns import PlaceRecord, device_for, standing

WORDS = {("cpu",): "cpu", ("A",): "cuda:0", ("B",): "cuda:1", ("A", "B"): "one of 2 GPUs"}


def waiting(ticket: int, *devices: str, anyway: bool = False) -> PlaceRecord:
    wanted = WORDS[devices]
    return PlaceRecord(
        ticket=ticket, run_id=f"run-{ticket}", devices=devices, wanted=wanted, anyway=anyway
    )


def training(ticket: int, device: str) -> PlaceRecord:
    return PlaceRecord(
        ticket=ticket,
        run_id=f"run-{ticket}",
        devices=(device,),
        wanted=WORDS[(device,)],
        training_on=device,
    )


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        (waiting(1, "cpu"), [], "cpu"),
        (waiting(2, "cpu"), [training(1, "cpu")], None),
        (waiting(2, "cpu"), [waiting(1, "cpu")], None),
        (waiting(1, "cpu"), [waiting(2, "cpu")], "cpu"),
        # One that did not wait has a later ticket and the device all the same.
        (waiting(1, "cpu"), [training(2, "cpu")], None),
        (waiting(2, "cpu"), [training(1, "A"), waiting(3, "cpu")], "cpu"),
        # Of several devices the first free one, and none that an earlier run is given.
        (waiting(2, "A", "B"), [training(1, "A")], "B"),
        (waiting(3, "A", "B"), [training(1, "A"), waiting(2, "A", "B")], None),
        (waiting(3, "A", "B"), [waiting(2, "A")], "B"),
        (waiting(3, "A", "B"), [training(1, "B"), waiting(2, "B")], "A"),
        # An earlier run that waits for a busy device keeps nobody from a free one.
        (waiting(3, "B"), [training(1, "A"), waiting(2, "A")], "B"),
        (waiting(4, "A"), [training(1, "A"), waiting(2, "A", "B"), waiting(3, "B")], None),
        # Those that need not wait take a free device first, and else their best one.
        (waiting(2, "cpu", anyway=True), [training(1, "cpu")], "cpu"),
        (waiting(2, "A", "B", anyway=True), [training(1, "A")], "B"),
        (waiting(3, "A", "B", anyway=True), [training(1, "A"), training(2, "B")], "A"),
    ],
)
def test_the_device_that_a_run_may_take(
    mine: PlaceRecord, others: list[PlaceRecord], expected: str | None
) -> None:
    assert device_for(mine, others) == expected
    assert device_for(mine, others[::-1]) == expected


def test_a_run_stands_behind_the_one_that_trains_and_all_that_wait_before_it() -> None:
    others = [waiting(4, "cpu"), waiting(7, "cpu"), training(5, "cpu"), waiting(2, "A")]
    assert standing(waiting(6, "cpu"), others) == QueueStanding(
        device="cpu", position=3, ahead=["run-5", "run-4"]
    )


def test_of_several_devices_one_must_become_free() -> None:
    others = [training(1, "A"), training(2, "B"), waiting(3, "A", "B")]
    found = standing(waiting(4, "A", "B"), others)
    assert found.ahead == ["run-1", "run-2", "run-3"]
    assert found.position == 3
    assert found.device == "one of 2 GPUs"


def test_two_runs_that_share_a_device_must_both_end() -> None:
    found = standing(waiting(3, "cpu"), [training(1, "cpu"), training(2, "cpu")])
    assert (found.position, found.ahead) == (3, ["run-1", "run-2"])
