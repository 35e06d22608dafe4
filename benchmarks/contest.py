"""Trainings side by side: each goes on a little in its turn, and its own seconds are counted.

What the machine does besides meets all of them alike, and evaluations cost nobody anything.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.product import ProductSteps
from trainer.engine import evaluation
from trainer.engine.evaluation import Scorer
from trainer.engine.setup import start_embedding
from trainer.engine.trainee import Job, Trainee

TURNS = 20
_CALIBRATION_STEPS = 6


@dataclass(frozen=True)
class Point:
    """Where a training stood: its own seconds and tokens, and how well it did."""

    seconds: float
    tokens: int
    word_perplexity: float


@dataclass
class Contestant:
    """One training with a plan of so many steps.

    Args:
        take: trains a step and returns its tokens.
        judge: returns the validation word perplexity.
        looks: how often it is judged, the last time at its end.
    """

    name: str
    total_steps: int
    take: Callable[[], int]
    judge: Callable[[], float]
    looks: int = 1
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    curve: list[Point] = field(default_factory=list)

    def advance(self, share: float) -> None:
        """Train until this share of the plan is done."""
        goal = round(share * self.total_steps)
        began = time.perf_counter()
        for _ in range(self.steps, goal):
            self.tokens += self.take()
        self.seconds += time.perf_counter() - began
        self.steps = goal

    def look(self) -> None:
        """Add a point to the curve."""
        self.curve.append(Point(self.seconds, self.tokens, self.judge()))


def hold(contestants: Sequence[Contestant], turns: int = TURNS) -> None:
    """Train all to their ends, a share of each plan a turn."""
    for turn in range(1, turns + 1):
        for contestant in contestants:
            contestant.advance(turn / turns)
            if turn % (turns // contestant.looks) == 0:
                contestant.look()
                _tell(contestant)


def _tell(contestant: Contestant) -> None:
    point = contestant.curve[-1]
    sys.stderr.write(
        f"{contestant.name}: step {contestant.steps} of {contestant.total_steps}, "
        f"{point.seconds:.0f} s, word perplexity {point.word_perplexity:.1f}\n"
    )


def product_contestant(name: str, job: Job, trainee: Trainee, looks: int = 1) -> Contestant:
    """Let this program's real step take part.

    It is compiled before its time begins; counting the neighbours for the first embeddings is
    learning, and counts.
    """
    steps = ProductSteps(job, trainee)
    steps.warm_up()
    began = time.perf_counter()
    start_embedding(trainee.config, trainee.tokens, trainee.model)
    learning = time.perf_counter() - began
    judge = validation_judge(trainee, trainee.model)
    total = trainee.plan.total_steps
    return Contestant(name, total, steps.take, judge, looks, seconds=learning)


def validation_judge(trainee: Trainee, model: Scorer) -> Callable[[], float]:
    """Return what scores a model on the validation text, always in the same way and in fp32."""
    split, training = trainee.tokens.splits["validation"], trainee.config.training

    def judge() -> float:
        result = evaluation.evaluate(
            model,
            split.tokens,
            seq_length=training.seq_length,
            stride=max(1, training.seq_length // 2),
            words=split.words,
            byte_count=split.bytes,
            batch_size=32,
            device=trainee.device,
            autocast=contextlib.nullcontext,
        )
        assert result is not None
        return result.word_perplexity or math.inf

    return judge


def seconds_per_step(take: Callable[[], int]) -> float:
    """Time a few steps after a first one, to plan how many there is time for."""
    take()
    began = time.perf_counter()
    for _ in range(_CALIBRATION_STEPS):
        take()
    return (time.perf_counter() - began) / _CALIBRATION_STEPS


def seconds_to_reach(points: Sequence[tuple[float, float]], perplexity: float) -> float | None:
    """Return when a perplexity is reached, between points on lines in logarithmic scales.

    Args:
        points: (seconds, perplexity), by seconds.

    Returns:
        The seconds; those of the first point if it is there already, None if none is.
    """
    before: tuple[float, float] | None = None
    for seconds, reached in points:
        if reached <= perplexity:
            if before is None or before[1] <= reached:
                return seconds
            fallen = math.log(before[1] / perplexity) / math.log(before[1] / reached)
            return math.exp(math.log(before[0]) + fallen * math.log(seconds / before[0]))
        before = (seconds, reached)
    return None
