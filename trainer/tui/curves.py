"""The curves of the shown run, kept up to date by small reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.store.metrics import MetricsReader

COARSE_POINTS = 600
"""Buckets of the first read: about two to each column of braille dots in a wide terminal."""
MOST_POINTS = 3000
"""Points kept before the whole curve is read again in coarse buckets."""


@dataclass(frozen=True)
class Curve:
    """Points of one series; a step may come twice, with the lowest and highest of its bucket."""

    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()

    @property
    def last_step(self) -> int | None:
        """The newest step, if there is one."""
        return self.steps[-1] if self.steps else None

    @property
    def last_value(self) -> float | None:
        """The newest value, if there is one."""
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Curves:
    """The two losses, in nats a token."""

    train: Curve
    validation: Curve

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.train.steps and not self.validation.steps


NO_CURVES = Curves(Curve(), Curve())


def read_curves(reader: MetricsReader, known: Curves) -> Curves:
    """Return the curves with what is new since ``known``, reading only that.

    A run that was resumed has forgotten points past its checkpoint; then all is read anew.
    """
    train = known.train
    last = reader.last_step()
    forgotten = train.last_step is not None and (last is None or last < train.last_step)
    if forgotten or not train.steps or len(train.steps) > MOST_POINTS:
        return Curves(_whole(reader, "train_loss"), _whole(reader, "val_loss"))
    return Curves(
        _extended(reader, "train_loss", train), _extended(reader, "val_loss", known.validation)
    )


def _whole(reader: MetricsReader, name: str) -> Curve:
    answer = reader.series([name], points=COARSE_POINTS)["series"][name]
    steps: list[int] = []
    values: list[float] = []
    buckets = zip(answer["step"], answer["min"], answer["max"], answer["value"], strict=True)
    for step, low, high, value in buckets:
        # A spike within a bucket must show: the line runs over the extremes to the last value.
        passed = [value] if low == high else [low, high, value]
        steps += [step] * len(passed)
        values += passed
    return Curve(tuple(steps), tuple(values))


def _extended(reader: MetricsReader, name: str, known: Curve) -> Curve:
    answer = reader.series([name], after=known.last_step, points=MOST_POINTS)["series"][name]
    if not answer["step"]:
        return known
    return Curve(known.steps + tuple(answer["step"]), known.values + tuple(answer["value"]))


def thinned(curve: Curve, most: int) -> Curve:
    """Return at most about ``most`` points of a curve, evenly apart, the newest among them."""
    stride = max(1, -(-len(curve.steps) // max(1, most)))
    return Curve(curve.steps[::-1][::stride], curve.values[::-1][::stride])


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers (1, 2 or 5 times a power of ten) within a range."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low or most < 1:
        return [low]
    step = _round_step((high - low) / (most + 1))
    while math.floor(high / step) - math.ceil(low / step) + 1 > most:
        step = _round_step(step * 1.01)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def _round_step(smallest: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is not below ``smallest``."""
    power = 10.0 ** math.floor(math.log10(smallest))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= smallest)


def tick_labels(values: Sequence[float]) -> list[str]:
    """Write ticks with just the decimals that tell them apart."""
    if len(values) < 2:
        return [f"{value:.4g}" for value in values]
    decimals = max(0, -math.floor(math.log10(abs(values[1] - values[0])) + 1e-9))
    return [f"{value:,.{decimals}f}" for value in values]
