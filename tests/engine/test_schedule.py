"""The learning rate over a run's steps, worked out by hand on short schedules."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from trainer.config import TrainingSettings
from trainer.engine.schedule import Segment, extend, learning_rate_fraction, sequence_parts

WSD = TrainingSettings(schedule="wsd", warmup_fraction=0.2, decay_fraction=0.4)
COSINE = TrainingSettings(schedule="cosine", warmup_fraction=0.0)


def fractions(segments: Sequence[Segment], settings: TrainingSettings, total: int) -> list[float]:
    return [learning_rate_fraction(step, segments, settings) for step in range(total)]


def test_wsd_warms_up_stays_and_decays() -> None:
    plan = fractions([Segment(0, 10, 0.0)], WSD, 10)
    assert plan == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_wsd_decays_to_the_last_fraction_that_was_asked_for() -> None:
    settings = TrainingSettings(warmup_fraction=0.0, decay_fraction=0.4, final_lr_fraction=0.5)
    plan = fractions([Segment(0, 10, 0.0)], settings, 10)
    assert plan == pytest.approx([1, 1, 1, 1, 1, 1, 0.9, 0.8, 0.7, 0.6])


def test_wsd_without_decay_stays_to_the_end() -> None:
    settings = TrainingSettings(warmup_fraction=0.0, decay_fraction=0.0)
    assert fractions([Segment(0, 4, 0.0)], settings, 5) == [1, 1, 1, 1, 1]


def test_warm_up_and_decay_that_take_the_whole_run_do_not_overlap() -> None:
    settings = TrainingSettings(warmup_fraction=0.5, decay_fraction=1.0)
    plan = fractions([Segment(0, 4, 0.0)], settings, 4)
    assert plan == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1 / 3])


def test_cosine_falls_by_half_a_cosine() -> None:
    plan = fractions([Segment(0, 4, 0.0)], COSINE, 5)
    assert plan == pytest.approx([1.0, 0.8535534, 0.5, 0.1464466, 0.0])


def test_a_run_of_one_step_uses_a_rate_above_zero() -> None:
    for settings in (WSD, COSINE, TrainingSettings()):
        assert learning_rate_fraction(0, [Segment(0, 1, 0.0)], settings) > 0


def test_extending_to_the_same_end_changes_nothing() -> None:
    segments = (Segment(0, 100, 0.0),)
    assert extend(segments, 40, 100, WSD) == segments


def test_an_extended_run_sets_out_from_the_last_rate_used() -> None:
    old = (Segment(0, 10, 0.0),)
    first, further = extend(old, 8, 30, WSD)
    assert (first, further.first_step, further.total_steps) == (old[0], 8, 30)
    assert further.start_fraction == pytest.approx(0.6)


def test_extending_twice_without_a_step_in_between_keeps_one_new_segment() -> None:
    once = extend((Segment(0, 10, 0.0),), 10, 20, WSD)
    assert extend(once, 10, 40, WSD) == (once[0], Segment(10, 40, once[1].start_fraction))
    assert once[1].start_fraction == pytest.approx(0.2)


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
@pytest.mark.parametrize("resumed_step", [1, 60, 130, 150, 199, 200])
@pytest.mark.parametrize("new_total", [230, 400, 3000])
def test_the_rate_of_an_extended_run_never_jumps(
    schedule: str, resumed_step: int, new_total: int
) -> None:
    settings = TrainingSettings(
        schedule="wsd" if schedule == "wsd" else "cosine", warmup_fraction=0.05
    )
    segments = extend((Segment(0, 200, 0.0),), resumed_step, new_total, settings)
    plan = fractions(segments, settings, new_total)
    steepest = max(abs(b - a) for a, b in itertools.pairwise(plan))
    # The steepest slope there is: the warm-up of the old segment, 10 steps, or of a short new one.
    assert steepest <= 1 / 9
    assert max(plan) <= 1.0
    assert min(plan) > 0.0


def test_an_extended_run_reaches_the_highest_rate_again_and_the_end() -> None:
    segments = extend((Segment(0, 100, 0.0),), 100, 300, WSD)
    plan = fractions(segments, WSD, 300)
    assert plan[99] == pytest.approx(1 / 41)
    assert plan[100] == pytest.approx(1 / 41 + 40 / 41 / 41)
    assert plan[140] == 1.0
    assert plan[299] == pytest.approx(1 / 81)


def test_a_further_segment_warms_up_even_where_the_run_did_not() -> None:
    settings = TrainingSettings(warmup_fraction=0.0, decay_fraction=0.5)
    segments = extend((Segment(0, 100, 0.0),), 100, 140, settings)
    plan = fractions(segments, settings, 140)
    assert plan[99] == pytest.approx(1 / 51)
    assert plan[100:111] == pytest.approx([1 / 51 + 50 / 51 * (n + 1) / 11 for n in range(11)])


def test_sequences_are_cut_in_eight_then_in_four_during_the_ramp() -> None:
    settings = TrainingSettings(context_ramp=0.4)
    segments = (Segment(0, 100, 0.0),)
    steps = (0, 19, 20, 39, 40, 99)
    assert [sequence_parts(step, segments, 256, settings) for step in steps] == [8, 8, 4, 4, 1, 1]


@pytest.mark.parametrize(("seq_length", "parts"), [(128, 4), (64, 2), (96, 2), (63, 1), (254, 2)])
def test_no_sequence_is_cut_below_32_tokens(seq_length: int, parts: int) -> None:
    settings = TrainingSettings(context_ramp=0.4)
    assert sequence_parts(0, (Segment(0, 10, 0.0),), seq_length, settings) == parts


def test_an_extended_run_does_not_cut_again() -> None:
    settings = TrainingSettings(context_ramp=0.4)
    segments = (Segment(0, 100, 0.0), Segment(100, 1000, 0.0))
    assert sequence_parts(100, segments, 256, settings) == 1


def test_without_a_ramp_nothing_is_cut() -> None:
    settings = TrainingSettings(context_ramp=0.0)
    assert sequence_parts(0, (Segment(0, 10, 0.0),), 256, settings) == 1
