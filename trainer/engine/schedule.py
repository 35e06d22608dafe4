"""The learning rate over the steps of a run, as a share of the highest: pure functions.

Each segment of a run warms up, stays or follows a cosine, and decays to its end. A run that is
extended gets a further segment, which sets out from the last rate used, so that the rate never
jumps. Steps are counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import TrainingSettings

REWARM_STEPS = 10
"""A further segment warms up over at least so many steps, or a quarter of its own if it is short,
whatever ``training.warmup_fraction`` is."""

SHORTEST_CONTEXT = 32
"""Tokens; no sequence is cut into shorter parts."""


@dataclass(frozen=True)
class Segment:
    """The steps from ``first_step`` up to, not including, ``total_steps``.

    ``start_fraction`` is the share of the highest rate from which the segment sets out.
    """

    first_step: int
    total_steps: int
    start_fraction: float

    @property
    def length(self) -> int:
        return max(1, self.total_steps - self.first_step)


def learning_rate_fraction(
    step: int, segments: Sequence[Segment], settings: TrainingSettings
) -> float:
    """Return the share of the highest learning rate, in [0, 1], that ``step`` uses.

    ``wsd`` warms up, stays, then decays in a straight line (arXiv 2405.18392); ``cosine`` warms
    up, then follows half a cosine (arXiv 1608.03983). The first step is already above the start
    and the last still above the end, so that no step is spent at zero.
    """
    segment = _segment_of(step, segments)
    position = step - segment.first_step
    warmup_steps = _warmup_steps(segment, settings)
    if position < warmup_steps:
        risen = (position + 1) / (warmup_steps + 1)
        return segment.start_fraction + (1.0 - segment.start_fraction) * risen
    fallen = _fallen(position, segment.length, warmup_steps, settings)
    return 1.0 - (1.0 - settings.final_lr_fraction) * fallen


def sequence_parts(
    step: int, segments: Sequence[Segment], seq_length: int, settings: TrainingSettings
) -> int:
    """Return into how many parts ``step`` cuts its sequences: 8, then 4, then 1.

    A model learns from near neighbours first, and the same tokens teach that better in many short
    sequences (sequence length warm-up: Li, Zhang and He, 2022, arXiv 2108.06084). The ramp is half
    of eighths and half of quarters. Sequences that do not divide, or would be shorter than 32
    tokens, are cut into fewer parts. A run that is extended does not cut again.
    """
    ramp_steps = settings.context_ramp * segments[0].length
    if step >= ramp_steps:
        return 1
    most = 8 if step < ramp_steps / 2 else 4
    fitting = (n for n in (8, 4, 2) if n <= most and seq_length % n == 0)
    return next((n for n in fitting if seq_length // n >= SHORTEST_CONTEXT), 1)


def extend(
    segments: Sequence[Segment], resumed_step: int, new_total: int, settings: TrainingSettings
) -> tuple[Segment, ...]:
    """Return the segments of a run that goes on at ``resumed_step`` and now ends at ``new_total``.

    They are the same when the end has not moved or is reached already.
    """
    last = segments[-1]
    if new_total == last.total_steps or new_total <= resumed_step:
        return tuple(segments)
    if resumed_step == last.first_step:
        return (*segments[:-1], Segment(resumed_step, new_total, last.start_fraction))
    start = learning_rate_fraction(resumed_step - 1, segments, settings)
    return (*segments, Segment(resumed_step, new_total, start))


def _segment_of(step: int, segments: Sequence[Segment]) -> Segment:
    return next(s for s in reversed(segments) if s.first_step <= step)


def _warmup_steps(segment: Segment, settings: TrainingSettings) -> int:
    if segment.start_fraction >= 1.0:
        return 0
    steps = round(settings.warmup_fraction * segment.length)
    if segment.first_step == 0:
        return steps
    return max(steps, min(REWARM_STEPS, -(-segment.length // 4)))


def _fallen(position: int, length: int, warmup_steps: int, settings: TrainingSettings) -> float:
    """Return how far the rate has fallen from the highest (0) to the last (1)."""
    if settings.schedule == "cosine":
        done = (position - warmup_steps) / max(1, length - warmup_steps)
        return 0.5 - 0.5 * math.cos(math.pi * min(done, 1.0))
    decay_steps = min(round(settings.decay_fraction * length), length - warmup_steps)
    if decay_steps == 0:
        return 0.0
    into_decay = position - (length - decay_steps) + 1
    return min(max(into_decay, 0) / (decay_steps + 1), 1.0)
