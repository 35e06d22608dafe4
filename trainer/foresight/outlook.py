"""What a planned run will take, foreseen from earlier runs of the same workspace.

Nothing is tried out here, and nothing is invented: a figure comes with the run that it is drawn
from and with the room for error, or with the reason why it is not known. Pure functions.

Time is drawn from the paces of earlier runs on the same device, all included, times the ratio of
the arithmetic of a token. Small models make less of a processor than large ones, so a pace is
carried over to a model of another size with a wide margin, and not at all past ``FARTHEST``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trainer import config as configuration
from trainer import formats
from trainer.config import Config, DataSettings
from trainer.foresight import workload
from trainer.foresight.precedents import Precedent, flops_of

SAME_MARGIN = 1.35
"""What a run may take more or less than those of its shape: other programs share the machine."""

OTHER_MARGIN = 2.0
"""A pace carried over to another size, within ``FARTHEST``."""

FARTHEST = 4.0
"""Models with so many times more or less arithmetic a token teach nothing about time."""

MOST_ALIKE = 5
"""Newest runs of the same shape whose paces are looked at."""

LEAST_STEPS = 20
"""Before so many steps a run has mostly been starting."""

_BYTES_OF_FP32 = 4
_COPIES = 3
"""Weights, their gradients and at least one moment of the optimizer."""


@dataclass(frozen=True)
class Foreseen:
    """A figure from ``low`` to ``high``, and where it is from; None, and why it is not known."""

    low: float | None
    high: float | None
    basis: str
    at_most: bool = False
    run_id: str | None = None

    @property
    def known(self) -> bool:
        return self.low is not None

    @property
    def middle(self) -> float:
        """The geometric mean: errors of a pace are ratios."""
        return math.sqrt((self.low or 0.0) * (self.high or 0.0))


@dataclass(frozen=True)
class Outlook:
    """Steps, seconds and bytes of memory of a planned run."""

    steps: Foreseen
    seconds: Foreseen
    memory_bytes: Foreseen


def unknown(reason: str) -> Foreseen:
    """Return a figure that is not known, with the reason."""
    return Foreseen(None, None, reason)


def foresee(
    config: Config,
    precedents: Sequence[Precedent],
    device: str,
    device_name: str | None,
    peak_memory_bytes: Callable[[str], int | None],
) -> Outlook:
    """Foresee a run from earlier ones.

    Args:
        device: on which it would train: ``cpu`` or ``cuda:N``.
        device_name: its model; runs on another model teach nothing about time.
        peak_memory_bytes: what a run took, by its id.
    """
    steps = foreseen_steps(config, precedents)
    here = [p for p in precedents if p.device == device and _named(p, device_name)]
    return Outlook(
        steps,
        foreseen_seconds(config, steps, here),
        foreseen_memory(config, here, peak_memory_bytes),
    )


def _named(precedent: Precedent, device_name: str | None) -> bool:
    return device_name is None or precedent.device_name == device_name


# ---------------------------------------------------------------------- steps


def foreseen_steps(config: Config, precedents: Sequence[Precedent]) -> Foreseen:
    """Work out the steps from the newest run on the same text with the same vocabulary."""
    training = config.training
    same = [p for p in precedents if p.steps_per_epoch and _same_text(p.config.data, config.data)]
    if not same:
        reason = "the text is counted when a run first reads it"
        if training.max_steps is None:
            return unknown(reason)
        return Foreseen(training.max_steps, training.max_steps, f"max_steps; {reason}", True)
    found = same[0]
    low, high = (workload.steps_of(training, per_epoch) for per_epoch in _per_epoch(found, config))
    basis = f"the text as {found.title} read it"
    if found.config.data.dataset_name != config.data.dataset_name:
        basis = f"if the hub does not answer: {found.config.data.dataset_name}, as {found.title}"
    return Foreseen(low, high, basis, run_id=found.run_id)


def _same_text(there: DataSettings, here: DataSettings) -> bool:
    """Say whether a run has read the text that another will, or the one that may stand in."""
    names = {here.dataset_name} | ({here.fallback} if here.fallback else set())
    return there.dataset_name in names and (
        (there.dataset_config, there.text_column, there.held_out_fraction, there.vocab_size)
        == (here.dataset_config, here.text_column, here.held_out_fraction, here.vocab_size)
    )


def _per_epoch(precedent: Precedent, config: Config) -> tuple[int, int]:
    """Return between which numbers the steps of an epoch lie.

    The steps of the earlier run leave open as many tokens as one of its steps takes, and one
    window.
    """
    there, here = precedent.config.training, config.training
    steps = precedent.steps_per_epoch or 0
    if (workload.tokens_per_step(there), there.seq_length) == (
        workload.tokens_per_step(here),
        here.seq_length,
    ):
        return steps, steps
    sequences = there.batch_size * there.grad_accum_steps
    fewest = (steps * sequences + 1) * there.seq_length
    most = ((steps + 1) * sequences + 1) * there.seq_length - 1
    return workload.steps_per_epoch(fewest, here), workload.steps_per_epoch(most, here)


# ---------------------------------------------------------------------- time


def foreseen_seconds(config: Config, steps: Foreseen, here: Sequence[Precedent]) -> Foreseen:
    """Work out the time from the nearest pace on the same device."""
    if not steps.known:
        return unknown(f"the number of steps is not known: {steps.basis}")
    paced = [p for p in here if p.steps >= LEAST_STEPS and p.seconds > 0 and p.tokens > 0]
    if not paced:
        return unknown("no run has trained on this device yet")
    flops = flops_of(config)
    nearest = min(
        paced, key=lambda p: (abs(math.log(p.flops_per_token / flops)), not_alike(p, config))
    )
    ratio = flops / nearest.flops_per_token
    if not 1 / FARTHEST <= ratio <= FARTHEST:
        return unknown(
            f"no run of a similar size has trained on this device ({nearest.title} is nearest)"
        )
    alike = [p for p in paced if not not_alike(p, config)][:MOST_ALIKE]
    margin = SAME_MARGIN if alike else OTHER_MARGIN
    paces = [p.seconds / p.tokens * ratio for p in alike or [nearest]]
    tokens = workload.tokens_per_step(config.training)
    return Foreseen(
        (steps.low or 0) * tokens * min(paces) / margin,
        (steps.high or 0) * tokens * max(paces) * margin,
        _pace_words(nearest, alike),
        at_most=steps.at_most,
        run_id=nearest.run_id,
    )


def foreseen_rest(steps: int, done: int, taken: float) -> Foreseen:
    """Work out the time of further steps of a run.

    Args:
        done, taken: its steps so far, and the seconds they took, all pauses included.
    """
    if done < LEAST_STEPS or taken <= 0:
        return unknown("the run has made too few steps to know its pace")
    seconds = steps * taken / done
    return Foreseen(
        seconds, seconds, "at the pace of this run so far, evaluations and saving included"
    )


def _pace_words(nearest: Precedent, alike: Sequence[Precedent]) -> str:
    words = f"at the pace of {nearest.title}"
    if not alike:
        return f"{words}, which had another size"
    others = len(alike) - 1
    return f"{words} and {formats.plural(others, 'run')} like it" if others else words


def not_alike(precedent: Precedent, config: Config) -> bool:
    """Say whether a step of an earlier run did other work than a step of this one will."""
    return _work(precedent.config) != _work(config)


def _work(config: Config) -> tuple[object, ...]:
    training = config.training
    return (
        configuration.model_shape(config.model),
        config.data.vocab_size,
        training.batch_size,
        training.seq_length,
        training.grad_accum_steps,
        training.optimizer,
        training.precision,
        training.compile,
        training.context_ramp,
    )


# ---------------------------------------------------------------------- memory


def foreseen_memory(
    config: Config, here: Sequence[Precedent], peak_memory_bytes: Callable[[str], int | None]
) -> Foreseen:
    """Take the memory of a run that did the same work; of another only a lower bound is known."""
    for precedent in here:
        if not not_alike(precedent, config) and (peak := peak_memory_bytes(precedent.run_id)):
            basis = f"as {precedent.title} took"
            return Foreseen(peak, peak, basis, run_id=precedent.run_id)
    shape = configuration.model_shape(config.model)
    least = _COPIES * _BYTES_OF_FP32 * shape.parameters(config.data.vocab_size)
    return unknown(
        f"no run of this shape has trained on this device; weights, gradients and optimizer alone "
        f"take {formats.size(least)}"
    )
