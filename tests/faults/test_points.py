"""Interrupted at a chosen point and resumed, a run ends as the one that was not, bit for bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.faults.cases import case
from tests.faults.evidence import Evidence, differences
from tests.faults.points import COMPILED, MICRO_BATCH, POINTS, RECORD, Point
from tests.faults.trial import Trial
from tests.faults.victim import Fate
from trainer.config import Config
from trainer.errors import NotFoundError

Count = Callable[..., None]

SHORT = [point for point in POINTS if point.in_short]
LONG = [point for point in POINTS if not point.in_short]
ENDS = {"kill": "interrupted", "stop": "stopped"}


def names(points: list[Point] | tuple[Point, ...]) -> list[str]:
    return [point.name for point in points]


def interrupted(trial: Trial, config: Config, fates: tuple[Fate, ...]) -> Evidence:
    """Train a run whose lives end as they are fated to, and one more to its last step."""
    run_id = trial.create(config, fates[0])
    for fate, following in zip(fates, (*fates[1:], undisturbed(fates)), strict=True):
        run = trial.ended(run_id)
        assert run.status == ENDS[fate.deed], (fate, run.status, trial.story(run_id))
        try:
            trial.resume(run_id, following)
        except NotFoundError:  # There was nothing to save yet.
            run_id = trial.create(config, following)
    return trial.completed(run_id)


def undisturbed(fates: tuple[Fate, ...]) -> Fate:
    return Fate(alterations=fates[-1].alterations)


def check(trial: Trial, point: Point, tally: Count) -> None:
    config = case(point.case, trial.folder, *point.settings)
    whole = trial.uninterrupted(config, undisturbed(point.fates))
    found = differences(interrupted(trial, config, point.fates), whole)
    tally("points", 1, int(not found), "; ".join([point.name, *found]) if found else "")


@pytest.mark.parametrize("point", SHORT, ids=names(SHORT))
def test_an_interruption_changes_nothing(trial: Trial, point: Point, tally: Count) -> None:
    check(trial, point, tally)


@pytest.mark.soak
@pytest.mark.parametrize("point", LONG, ids=names(LONG))
def test_no_interruption_anywhere_changes_anything(
    trial: Trial, point: Point, tally: Count
) -> None:
    check(trial, point, tally)


@pytest.mark.soak
@pytest.mark.parametrize("point", COMPILED, ids=names(COMPILED))
def test_an_interruption_of_a_compiled_training_changes_nothing(
    trial: Trial, point: Point, tally: Count
) -> None:
    check(trial, point, tally)


@pytest.mark.parametrize("precision", ["off", "bf16", "fp16"])
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_with_deterministic_algorithms_an_interruption_changes_nothing_on_a_gpu(
    trial: Trial, precision: str, tally: Count
) -> None:
    settings = ("device.preference=cuda:0", f"training.precision={precision}")
    fates = tuple(
        Fate("kill", MICRO_BATCH, call, alterations=("deterministic",)) for call in (8, 31)
    )
    check(trial, Point(f"on a GPU, {precision}", "everything", fates, settings=settings), tally)


# ---------------------------------------------------------------------- from elsewhere, and further


@pytest.mark.soak
@pytest.mark.parametrize("source", ["epoch-2", "best"])
def test_going_on_from_an_older_checkpoint_leads_to_the_same_end(
    trial: Trial, source: str, tally: Count
) -> None:
    config = case("everything", trial.folder)
    run_id = trial.create(config, Fate("kill", RECORD, 29))
    trial.ended(run_id)
    trial.resume(run_id, Fate("kill", RECORD, 2), source=source)
    trial.ended(run_id)
    trial.resume(run_id)
    found = differences(trial.completed(run_id), trial.uninterrupted(config))
    tally("points", 2, 2 * int(not found), "; ".join(found))


def extended_twice(trial: Trial, config: Config, fate: Fate) -> Evidence:
    """Train a run to its end, add an epoch, and another one."""
    run_id = trial.create(config)
    trial.completed(run_id)
    for _ in range(2):
        trial.resume(run_id, fate, more_epochs=1)
        if trial.ended(run_id).status != "completed":
            trial.resume(run_id)
        trial.completed(run_id)
    return trial.completed(run_id)


@pytest.mark.soak
def test_epochs_added_twice_are_the_same_with_and_without_kills(trial: Trial, tally: Count) -> None:
    config = case("many epochs", trial.folder, "training.epochs=1")
    whole = extended_twice(trial, config, Fate())
    assert len(whole.points) == 3 * len(trial.uninterrupted(config).points)
    found = differences(extended_twice(trial, config, Fate("kill", RECORD, 5)), whole)
    tally("points", 2, 2 * int(not found), "; ".join(found))


def test_the_rate_goes_on_where_it_stood_when_epochs_are_added(trial: Trial) -> None:
    config = case("many epochs", trial.folder, "training.epochs=1")
    rates = extended_twice(trial, config, Fate()).rates
    steps = len(rates) // 3
    changes = [abs(after - before) for before, after in itertools.pairwise(rates)]
    largest_of_a_plan = max(changes[: steps - 1])
    for end in (steps, 2 * steps):
        assert changes[end - 1] <= largest_of_a_plan
    assert max(changes) <= largest_of_a_plan * 1.01


# ---------------------------------------------------------------------- generators and controls


def test_training_draws_nothing_from_the_generators_of_python_and_numpy(trial: Trial) -> None:
    run_id = trial.create(
        case("everything", trial.folder), Fate(alterations=("generators_watched",))
    )
    trial.completed(run_id)
    assert "generators untouched: True" in trial.story(run_id)


KILLED = Fate("kill", RECORD, 13)


UNSEEDED = Fate(alterations=("steps_not_seeded",))


def test_with_steps_that_are_not_seeded_the_comparison_fails(trial: Trial) -> None:
    config = case("everything", trial.folder)
    killed = interrupted(trial, config, (replace(KILLED, alterations=UNSEEDED.alterations),))
    assert "checkpoint latest" in differences(killed, trial.uninterrupted(config, UNSEEDED))


@pytest.mark.soak
def test_with_steps_that_are_not_seeded_two_whole_runs_are_still_equal(trial: Trial) -> None:
    """So it is the interruption that the comparison sees."""
    config = case("everything", trial.folder)
    again = trial.completed(trial.create(config, UNSEEDED))
    assert differences(again, trial.uninterrupted(config, UNSEEDED)) == []


@pytest.mark.soak
@pytest.mark.parametrize("alteration", ["one_momentum_forgotten", "data_one_step_further"])
def test_with_one_thing_not_restored_the_comparison_fails(trial: Trial, alteration: str) -> None:
    config = case("everything", trial.folder)
    run_id = trial.create(config, KILLED)
    trial.ended(run_id)
    trial.resume(run_id, Fate(alterations=(alteration,)))
    found = differences(trial.completed(run_id), trial.uninterrupted(config))
    assert "checkpoint latest" in found
