"""When evaluations are due and how long the rest takes, worked out by hand."""

from __future__ import annotations

from functools import partial

import pytest

from trainer.engine.timing import (
    Costs,
    Plan,
    Speed,
    SteadyMean,
    evaluation_seconds,
    evaluation_seconds_left,
    expected_in_words,
    extrapolated_step_seconds,
    saving_seconds,
    seconds_left,
    tokens_per_second,
)


def plan(
    total: int = 30, per_epoch: int = 10, evaluate: int | None = None, save: int | None = None
) -> Plan:
    return Plan(per_epoch, total, evaluate, save)


def test_max_steps_ends_a_run_early_and_never_late() -> None:
    of = partial(Plan.of, steps_per_epoch=10, epochs=3, evaluate_every=None, save_every=None)
    assert of(max_steps=None).total_steps == 30
    assert of(max_steps=7).total_steps == 7
    assert of(max_steps=99).total_steps == 30


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


@pytest.mark.parametrize("save", [None, 1, 3, 7, 10, 14])
@pytest.mark.parametrize("evaluate", [None, 4, 7, 10])
@pytest.mark.parametrize("total", [5, 28, 30])
def test_checkpoints_that_come_with_an_evaluation_are_not_counted_twice(
    save: int | None, evaluate: int | None, total: int
) -> None:
    of = plan(total=total, evaluate=evaluate, save=save)
    alone = [s for s in range(1, total + 1) if of.saves(s) and not of.evaluates(s)]
    for step in range(total + 1):
        assert of.saves_after(step) == sum(1 for at in alone if at > step)


def test_the_first_step_counts_fully_in_the_speed() -> None:
    speed = Speed()
    assert speed.seconds_per_step is None
    speed.add(2.0)
    assert speed.seconds_per_step == pytest.approx(2.0)
    for _ in range(200):
        speed.add(1.0)
    assert speed.seconds_per_step == pytest.approx(1.0, abs=1e-3)


def test_newer_values_weigh_more_in_a_steady_mean() -> None:
    mean = SteadyMean()
    assert mean.value is None
    for value in (1.0, 2.0, 3.0):
        mean.add(value)
    assert mean.value == pytest.approx((1 * 1.0 + 2 * 2.0 + 3 * 3.0) / (1 + 2 + 3))


def test_one_slow_step_moves_a_steady_mean_little() -> None:
    mean = SteadyMean()
    for _ in range(99):
        mean.add(1.0)
    mean.add(3.0)
    assert mean.value == pytest.approx(1.0 + 2.0 * 2 / 101)


def test_a_steady_mean_forgets_what_lies_far_back() -> None:
    mean = SteadyMean(longest=10)
    for _ in range(1000):
        mean.add(5.0)
    for _ in range(50):
        mean.add(1.0)
    assert mean.value == pytest.approx(1.0, abs=1e-3)


def test_what_is_expected_counts_until_something_was_measured() -> None:
    mean = SteadyMean()
    mean.expect(8.0)
    mean.expect(9.0)
    assert mean.value == 9.0
    mean.add(2.0)
    mean.expect(9.0)
    assert mean.value == 2.0


def costs(step: float | None = 2.0) -> Costs:
    """Steps of 2 s, evaluations of 10 s with 3 s after them, checkpoints of 1 s."""
    found = Costs()
    if step is not None:
        found.step.add(step)
    found.evaluation.expect(10.0)
    found.keeping.expect(3.0)
    found.save.expect(1.0)
    return found


def test_the_time_left_counts_steps_evaluations_and_checkpoints() -> None:
    assert seconds_left(plan(), 0, costs(step=None)) is None
    assert seconds_left(plan(), 0, costs()) == 30 * 2.0 + 3 * 13.0
    assert seconds_left(plan(), 15, costs()) == 15 * 2.0 + 2 * 13.0
    assert seconds_left(plan(save=4), 15, costs()) == 15 * 2.0 + 2 * 13.0 + 3 * 1.0


def test_what_follows_the_step_just_done_is_still_to_come() -> None:
    assert seconds_left(plan(), 30, costs()) == 13.0
    assert seconds_left(plan(), 30, costs(), pending=False) == 0.0
    assert seconds_left(plan(), 20, costs()) == 10 * 2.0 + 2 * 13.0
    assert seconds_left(plan(save=4), 24, costs()) == 6 * 2.0 + 1 * 13.0 + 2 * 1.0


def test_what_is_not_known_of_the_pauses_counts_as_nothing() -> None:
    only_steps = Costs()
    only_steps.step.add(2.0)
    assert seconds_left(plan(), 15, only_steps) == 30.0


def test_the_pauses_expected_are_told_in_words() -> None:
    assert expected_in_words(costs()) == (
        "An evaluation is expected to take 10.000 s, its samples and checkpoint 3.000 s, "
        "a checkpoint alone 1.000 s, writing the last one 0.000 s."
    )


def test_throughput_without_a_time_is_unknown() -> None:
    assert tokens_per_second(100, 2.0) == 50.0
    assert tokens_per_second(100, None) is None
    assert tokens_per_second(100, 0.0) is None


def test_an_evaluation_that_was_never_timed_is_as_many_windows() -> None:
    seconds = partial(evaluation_seconds, seq_length=100, stride=50, window_seconds=0.5)
    assert seconds(1101) == 0.5 * (1 + 20)
    assert seconds(1102) == 0.5 * (1 + 21)
    assert seconds(60) == 0.5


def test_a_checkpoint_that_was_never_timed_is_guessed_from_its_size() -> None:
    assert saving_seconds(25_000_000) == (0.125, 1.0)


def test_a_step_of_many_micro_batches_is_extrapolated_from_a_few() -> None:
    assert extrapolated_step_seconds(1.5, 3.5, few=3, all_of_them=8) == 1.5 + 7 * 1.0
    assert extrapolated_step_seconds(2.0, 1.9, few=3, all_of_them=8) == 1.9


def test_the_rest_of_an_evaluation_comes_from_its_own_pace() -> None:
    assert evaluation_seconds_left(10.0, 25, 100) == 30.0
    assert evaluation_seconds_left(10.0, 100, 100) == 0.0
    assert evaluation_seconds_left(0.0, 0, 100) == 0.0
