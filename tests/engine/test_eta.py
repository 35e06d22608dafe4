"""The replay of a run whose true rest can be worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.eta import History, Look, at_marks, expected_costs, read, replay, row, worst
from tests.engine.bench import Bench
from trainer.engine.timing import Costs, Plan, expected_in_words

STEP, EVALUATION, KEEPING, SAVE, COMPILING = 2.0, 10.0, 3.0, 1.0, 30.0


def history(plan: Plan, expected: Costs, slow_step: int | None = None) -> History:
    """A run with steps of 100 tokens at a perfectly even pace."""
    at, points = COMPILING, []
    for step in range(1, plan.total_steps + 1):
        taken = 3 * STEP if step == slow_step else STEP
        at += taken
        points.append(
            {
                "step": step,
                "tokens": 100 * step,
                "elapsed_seconds": at,
                "tokens_per_second": 100 / taken,
            }
        )
        at += EVALUATION + KEEPING if plan.evaluates(step) else SAVE if plan.saves(step) else 0.0
    evaluations = {s: EVALUATION for s in range(1, plan.total_steps + 1) if plan.evaluates(s)}
    return History(plan, points, evaluations, expected, at)


def well_expected() -> Costs:
    costs = Costs()
    costs.evaluation.expect(EVALUATION)
    costs.keeping.expect(KEEPING)
    costs.save.expect(SAVE)
    return costs


PLAN = Plan(steps_per_epoch=40, total_steps=100, evaluate_every=None, save_every=15)


def test_an_even_run_whose_pauses_were_known_is_predicted_exactly() -> None:
    looks = list(replay(history(PLAN, well_expected())))
    assert [look.step for look in looks] == list(range(2, 101))
    for look in looks:
        assert look.predicted_seconds == pytest.approx(look.true_seconds)


def test_an_evaluation_nobody_expected_is_known_once_it_has_happened() -> None:
    missing = {
        look.step: look.true_seconds - look.predicted_seconds
        for look in replay(history(PLAN, Costs()))
    }
    assert missing[14] == pytest.approx(3 * (EVALUATION + KEEPING) + 6 * SAVE)
    assert missing[40] == pytest.approx(3 * (EVALUATION + KEEPING))
    assert missing[41] == pytest.approx(0.0)


def test_one_slow_step_shows_for_a_while_only() -> None:
    looks = {look.step: look for look in replay(history(PLAN, well_expected(), slow_step=50))}
    assert abs(looks[49].error) < 0.05
    assert 0.0 < looks[50].error < 0.10
    assert 0.0 < looks[90].error < looks[50].error


def test_the_marks_and_the_worst_look() -> None:
    of = history(PLAN, well_expected())
    looks = [Look(step, 110.0 if step == 30 else 100.0, 100.0) for step in range(2, 101)]
    looks[0] = Look(2, 900.0, 100.0)
    assert [look.step for look in at_marks(looks, of.plan)] == [10, 25, 50, 75]
    assert worst(looks, of) == looks[28]
    assert worst(looks, of).error == pytest.approx(0.10)


def test_the_last_moments_of_a_run_do_not_count_for_the_worst() -> None:
    of = history(PLAN, well_expected())
    looks = [Look(50, 105.0, 100.0), Look(100, 9.0, 3.0)]
    assert worst(looks, of) == looks[0]


def test_what_a_worker_expected_is_read_from_its_own_words() -> None:
    costs = expected_costs(["Started.", expected_in_words(well_expected())])
    assert costs.evaluation.value == EVALUATION
    assert costs.keeping.value == KEEPING
    assert costs.save.value == SAVE
    assert expected_costs(["Started."]).evaluation.value is None


def test_a_real_run_is_read_from_its_folder(bench: Bench) -> None:
    run = bench.run("evaluation.every_steps=5")
    found = read(run.paths.folder)
    assert sorted(found.evaluations) == [5, 10, 12]
    assert found.expected.evaluation.value is not None
    looks = list(replay(found))
    assert [look.step for look in looks] == list(range(2, 13))
    assert all(look.true_seconds > 0.0 for look in looks)
    assert row("mine", found).startswith("| mine | ")


def test_a_run_that_was_cut_short_or_resumed_is_refused(bench: Bench) -> None:
    run = bench.run(stop_at=4)
    with pytest.raises(ValueError, match="is stopped, not completed"):
        read(run.paths.folder)
    bench.train(run, source="latest")
    with pytest.raises(ValueError, match="was resumed"):
        read(run.paths.folder)
