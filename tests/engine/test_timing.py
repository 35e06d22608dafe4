"""When evaluations are due and how long the rest takes, worked out by hand."""

from __future__ import annotations

import pytest

from trainer.engine.timing import (
    Plan,
    Speed,
    evaluation_seconds_left,
    expected_evaluation_seconds,
    seconds_left,
    tokens_per_second,
)


def plan(
    total: int = 30, per_epoch: int = 10, evaluate: int | None = None, save: int | None = None
) -> Plan:
    return Plan(per_epoch, total, evaluate, save)


def test_max_steps_ends_a_run_early_and_never_late() -> None:
    common = {"steps_per_epoch": 10, "epochs": 3, "evaluate_every": None, "save_every": None}
    assert Plan.of(max_steps=None, **common).total_steps == 30  # type: ignore[arg-type]
    assert Plan.of(max_steps=7, **common).total_steps == 7  # type: ignore[arg-type]
    assert Plan.of(max_steps=99, **common).total_steps == 30  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "number"), [(0, 1), (1, 1), (10, 1), (11, 2), (20, 2), (30, 3)])
def test_epochs_are_counted_from_one(step: int, number: int) -> None:
    assert plan().epoch_number(step) == number


def due(of: Plan) -> list[int]:
    return [step for step in range(1, of.total_steps + 1) if of.evaluates(step)]


def test_evaluations_are_due_at_epoch_ends_and_at_the_end() -> None:
    assert due(plan()) == [10, 20, 30]
    assert due(plan(total=25)) == [10, 20, 25]
    assert due(plan(evaluate=4, total=12)) == [4, 8, 10, 12]


def test_checkpoints_are_due_with_evaluations_and_in_between() -> None:
    saving = plan(save=7, total=20)
    assert [s for s in range(1, 21) if saving.saves(s)] == [7, 10, 14, 20]


@pytest.mark.parametrize("evaluate", [None, 1, 3, 4, 5, 6, 10, 20, 29, 31])
@pytest.mark.parametrize("total", [5, 10, 25, 30])
def test_the_count_of_evaluations_to_come_is_the_count_of_those_that_are_due(
    evaluate: int | None, total: int
) -> None:
    of = plan(total=total, evaluate=evaluate)
    for step in range(total + 1):
        assert of.evaluations_after(step) == sum(1 for at in due(of) if at > step)


def test_the_first_step_counts_fully_in_the_speed() -> None:
    speed = Speed()
    assert speed.seconds_per_step is None
    speed.add(2.0)
    assert speed.seconds_per_step == pytest.approx(2.0)
    for _ in range(200):
        speed.add(1.0)
    assert speed.seconds_per_step == pytest.approx(1.0, abs=1e-3)


def test_the_time_left_counts_steps_and_evaluations() -> None:
    assert seconds_left(plan(), 0, None, None) is None
    assert seconds_left(plan(), 15, 2.0, 10.0) == 15 * 2.0 + 2 * 10.0
    assert seconds_left(plan(), 30, 2.0, 10.0) == 0.0
    assert seconds_left(plan(), 15, 2.0, None) == 30.0


def test_throughput_without_a_time_is_unknown() -> None:
    assert tokens_per_second(100, 2.0) == 50.0
    assert tokens_per_second(100, None) is None
    assert tokens_per_second(100, 0.0) is None


def test_an_evaluation_that_was_never_timed_is_estimated_from_the_pace() -> None:
    half = {"window_share": 0.5, "training_tokens_per_second": 1000.0}
    assert expected_evaluation_seconds(30_000, **half) == 20.0


def test_the_rest_of_an_evaluation_comes_from_its_own_pace() -> None:
    assert evaluation_seconds_left(10.0, 25, 100) == 30.0
    assert evaluation_seconds_left(10.0, 100, 100) == 0.0
    assert evaluation_seconds_left(0.0, 0, 100) == 0.0
