"""When things are due in a run, and how long the rest will take: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
        epoch_ends = _multiples(self.steps_per_epoch, step, self.total_steps)
        last = int(step < self.total_steps and not self.ends_epoch(self.total_steps))
        if self.evaluate_every is None:
            return epoch_ends + last
        between = _multiples(self.evaluate_every, step, self.total_steps)
        both = math.lcm(self.evaluate_every, self.steps_per_epoch)
        if self.total_steps % self.evaluate_every == 0:
            last = 0
        return epoch_ends + between - _multiples(both, step, self.total_steps) + last


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


def seconds_left(
    plan: Plan,
    step: int,
    seconds_per_step: float | None,
    seconds_per_evaluation: float | None,
) -> float | None:
    """Estimate the rest of the run: its steps and evaluations; None while no step was timed."""
    if seconds_per_step is None:
        return None
    evaluations = plan.evaluations_after(step) * (seconds_per_evaluation or 0.0)
    return (plan.total_steps - step) * seconds_per_step + evaluations


def expected_evaluation_seconds(
    tokens: int, *, window_share: float, training_tokens_per_second: float
) -> float:
    """Estimate an evaluation that was never timed.

    Every token passes ``1 / window_share`` times, and a forward pass is a third of a step: the
    backward pass costs twice as much (Kaplan et al., 2020, arXiv 2001.08361, section 2.1).
    """
    return tokens / window_share / (3.0 * training_tokens_per_second)


def evaluation_seconds_left(taken: float, done: int, total: int) -> float:
    """Estimate the rest of an evaluation from its own pace."""
    return taken / done * (total - done) if done else 0.0


def tokens_per_second(tokens: int, seconds: float | None) -> float | None:
    """Return throughput, or None when no time was measured."""
    return tokens / seconds if seconds else None
