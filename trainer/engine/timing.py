"""When things are due in a run, and how long the rest will take: pure arithmetic."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

_SAVED_BYTES_PER_PARAMETER = 10
"""A weight in fp32 and one or two momenta."""

_COPIED_BYTES_PER_SECOND = 2e9
"""Copying in memory and looking for values that are not finite, on one core."""

_SAVED_BYTES_PER_SECOND = 250e6
"""Writing, hashing and reading back, on one core and an ordinary disk."""


@dataclass(frozen=True)
class Plan:
    """The steps of a whole run; steps and epochs are counted from 1."""

    steps_per_epoch: int
    total_steps: int
    evaluate_every: int | None
    save_every: int | None

    @classmethod
    def of(
        cls,
        *,
        steps_per_epoch: int,
        epochs: int,
        max_steps: int | None,
        evaluate_every: int | None,
        save_every: int | None,
    ) -> Plan:
        """Work out the last step: the end of the last epoch, or ``max_steps`` if that is sooner."""
        total = steps_per_epoch * epochs
        total = total if max_steps is None else min(total, max_steps)
        return cls(steps_per_epoch, total, evaluate_every, save_every)

    def epoch(self, step: int) -> float:
        """Return how many epochs are done after ``step``, with its fraction."""
        return step / self.steps_per_epoch

    def epoch_number(self, step: int) -> int:
        """Return the number, from 1, of the epoch that ``step`` belongs to."""
        return max(1, -(-step // self.steps_per_epoch))

    def ends_epoch(self, step: int) -> bool:
        return step > 0 and step % self.steps_per_epoch == 0

    def evaluates(self, step: int) -> bool:
        """Say whether an evaluation follows ``step``: at epoch ends, at the end, and in between."""
        between = self.evaluate_every is not None and step % self.evaluate_every == 0
        return between or self.ends_epoch(step) or step == self.total_steps

    def saves(self, step: int) -> bool:
        """Say whether a checkpoint follows ``step``: with every evaluation, and in between."""
        between = self.save_every is not None and step % self.save_every == 0
        return between or self.evaluates(step)

    def evaluations_after(self, step: int) -> int:
        """Count the evaluations still to come after ``step``."""
        return self._due_after(step, self.steps_per_epoch, self.evaluate_every)

    def saves_after(self, step: int) -> int:
        """Count the checkpoints still to come after ``step`` that no evaluation comes with."""
        due = self._due_after(step, self.steps_per_epoch, self.evaluate_every, self.save_every)
        return due - self.evaluations_after(step)

    def _due_after(self, step: int, *every: int | None) -> int:
        """Count the steps past ``step`` that end one of the periods, or the run.

        Steps that end several periods count once, by inclusion and exclusion.
        """
        periods = [period for period in every if period is not None]
        due = sum(
            (1 if size % 2 else -1) * _multiples(math.lcm(*some), step, self.total_steps)
            for size in range(1, len(periods) + 1)
            for some in itertools.combinations(periods, size)
        )
        ends_none = all(self.total_steps % period for period in periods)
        return due + int(step < self.total_steps and ends_none)


def _multiples(of: int, after: int, up_to: int) -> int:
    """Count the multiples of a number in ``(after, up_to]``."""
    return max(0, up_to // of - after // of)


class Speed:
    """The time of a step as a debiased exponential mean, so that the first steps count fully."""

    def __init__(self, half_life_steps: float = 10.0) -> None:
        self._decay = 0.5 ** (1.0 / half_life_steps)
        self._sum = 0.0
        self._weight = 0.0

    def add(self, seconds: float) -> None:
        """Take in the duration of one step."""
        self._sum = self._decay * self._sum + (1 - self._decay) * seconds
        self._weight = self._decay * self._weight + (1 - self._decay)

    @property
    def seconds_per_step(self) -> float | None:
        return self._sum / self._weight if self._weight else None


class SteadyMean:
    """A mean for looking ahead: newer values weigh more, and a few odd ones move it little.

    The weight of a value grows with its number (polynomial-decay averaging: Shamir and Zhang,
    2013, arXiv 1212.1824), so half of the weight is always on the last third of the values.
    From ``longest`` values on it is an exponential mean of about that many.
    """

    def __init__(self, longest: int = 500) -> None:
        self._longest = longest
        self._count = 0
        self.value: float | None = None

    def expect(self, value: float) -> None:
        """Set what is expected until the first value is known; then it makes no difference."""
        if self._count == 0:
            self.value = value

    def add(self, value: float) -> None:
        """Take in a value."""
        self._count += 1
        share = max(2.0 / (self._count + 1), 2.0 / self._longest)
        before = value if self._count == 1 or self.value is None else self.value
        self.value = before + share * (value - before)


@dataclass(frozen=True)
class Costs:
    """The seconds that each part of a run takes, expected at first and then measured.

    ``evaluation`` is the scoring alone; ``keeping`` is what follows it before the next step: the
    samples and the checkpoint. ``save`` is a checkpoint without an evaluation. Of a checkpoint
    only the time counts that training waits for it; ``writing`` is that of all of it, which a run
    waits for at its end.
    """

    step: SteadyMean = field(default_factory=SteadyMean)
    evaluation: SteadyMean = field(default_factory=SteadyMean)
    keeping: SteadyMean = field(default_factory=SteadyMean)
    save: SteadyMean = field(default_factory=SteadyMean)
    writing: SteadyMean = field(default_factory=SteadyMean)


def expected_in_words(costs: Costs) -> str:
    """Tell what is expected of the pauses of a run, before any was measured."""
    return (
        f"An evaluation is expected to take {costs.evaluation.value or 0.0:.3f} s, "
        f"its samples and checkpoint {costs.keeping.value or 0.0:.3f} s, "
        f"a checkpoint alone {costs.save.value or 0.0:.3f} s, "
        f"writing the last one {costs.writing.value or 0.0:.3f} s."
    )


def seconds_left(plan: Plan, step: int, costs: Costs, *, pending: bool = True) -> float | None:
    """Estimate the rest of a run after ``step``; None while the time of a step is not known.

    Args:
        pending: what follows ``step`` itself, an evaluation or a checkpoint, is still to come.
    """
    if costs.step.value is None:
        return None
    evaluations, saves = plan.evaluations_after(step), plan.saves_after(step)
    if pending and step > 0:
        evaluations += plan.evaluates(step)
        saves += plan.saves(step) and not plan.evaluates(step)
    each_evaluation = (costs.evaluation.value or 0.0) + (costs.keeping.value or 0.0)
    steps = (plan.total_steps - step) * costs.step.value
    pauses = evaluations * each_evaluation + saves * (costs.save.value or 0.0)
    return steps + pauses + (costs.writing.value or 0.0)


def evaluation_seconds(
    tokens: int, *, seq_length: int, stride: int, window_seconds: float
) -> float:
    """Return the time of a sliding-window evaluation of so many tokens, from that of a window."""
    later_windows = max(0, math.ceil((tokens - 1 - seq_length) / stride))
    return (1 + later_windows) * window_seconds


def extrapolated_step_seconds(one: float, some: float, *, few: int, all_of_them: int) -> float:
    """Return the time of a step from those of steps of one and of a few micro-batches."""
    each = max(0.0, some - one) / (few - 1)
    return some + (all_of_them - few) * each


def saving_seconds(parameters: int) -> tuple[float, float]:
    """Guess how long training waits for a checkpoint, and how long all of its writing takes."""
    size = parameters * _SAVED_BYTES_PER_PARAMETER
    return size / _COPIED_BYTES_PER_SECOND, size / _SAVED_BYTES_PER_SECOND


def evaluation_seconds_left(taken: float, done: int, total: int) -> float:
    """Estimate the rest of an evaluation from its own pace."""
    return taken / done * (total - done) if done else 0.0


def tokens_per_second(tokens: int, seconds: float | None) -> float | None:
    """Return throughput, or None when no time was measured."""
    return tokens / seconds if seconds else None
