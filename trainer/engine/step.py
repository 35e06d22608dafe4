"""One optimizer step: the gradients of its micro-batches, and whether the weights move.

Nothing in it waits for a GPU: loss, gradient norm and the decision stay on the device, and are
read later (:mod:`trainer.engine.readback`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from trainer.engine import schedule
from trainer.engine.dataloader import Batch
from trainer.engine.out_of_memory import Shortage, smaller, unless_out_of_memory
from trainer.engine.trainee import Job, Trainee


def take_step(job: Job, trainee: Trainee, step: int, micro_batches: Sequence[Batch]) -> Tensor:
    """Do one optimizer step, counted from 0.

    The weights do not move where the loss or the gradient is not finite.

    Returns:
        (2,): the mean loss of its tokens, in nats, and the gradient's norm before clipping.

    Raises:
        TrainingError: there is no memory even for one sequence at a time.
    """
    config, optimizers = trainee.config.training, trainee.optimizers
    loss = _gradients(job, trainee, step, micro_batches)
    for optimizer in optimizers.parts:
        trainee.scaler.unscale_(optimizer)
    longest = config.clip_grad_norm or math.inf
    norm = torch.nn.utils.clip_grad_norm_(trainee.model.parameters(), longest)
    fraction = schedule.learning_rate_fraction(step, trainee.segments, config)
    optimizers.set_learning_rate(fraction * trainee.standing.learning_rate_factor)
    figures = torch.stack([loss, norm])
    _move(trainee, figures)
    # GradScaler.step would wait for the GPU; the flags it looks at are contained in ours.
    trainee.scaler.update()
    optimizers.zero_grad()
    return figures


def step_seed(seed: int, step: int) -> int:
    """Mix a run's seed and a step into the seed of that step's dropout (SplitMix64)."""
    mixed = (seed + (step + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return mixed ^ (mixed >> 31)


def _move(trainee: Trainee, figures: Tensor) -> None:
    spoilt = ~torch.isfinite(figures).all()
    if trainee.readback.delay_steps > 0:
        trainee.optimizers.step(unless=spoilt)
    elif not spoilt:
        trainee.optimizers.step()


def _gradients(job: Job, trainee: Trainee, step: int, micro_batches: Sequence[Batch]) -> Tensor:
    """Make the gradients of a step, of as many sequences at a time as there is memory for."""
    while True:
        torch.manual_seed(step_seed(trainee.config.training.seed, step))
        at_once = trainee.sequences_at_once
        parts = [cut(part, trainee.sequence_parts(step)) for part in split(micro_batches, at_once)]
        loss = unless_out_of_memory(partial(_accumulate, trainee, parts))
        if not isinstance(loss, Shortage):
            return loss
        trainee.optimizers.zero_grad()
        trainee.standing.sequences_at_once = smaller(at_once, loss, trainee.device)
        _tell_smaller(job, trainee, step, at_once)


def split(micro_batches: Sequence[Batch], sequences: int) -> Iterator[Batch]:
    """Cut micro-batches (batch, seq_length) into parts of at most so many sequences."""
    for inputs, targets in micro_batches:
        yield from zip(torch.split(inputs, sequences), torch.split(targets, sequences), strict=True)


def cut(batch: Batch, parts: int) -> Batch:
    """Cut each sequence of a micro-batch: (batch, seq_length) → (batch * parts, shorter)."""
    inputs, targets = batch
    shape = (inputs.shape[0] * parts, inputs.shape[1] // parts)
    return inputs.reshape(shape), targets.reshape(shape)


def _accumulate(trainee: Trainee, parts: Sequence[Batch]) -> Tensor:
    """Add up the gradients of all parts and return their mean loss, each token counting alike."""
    tokens = sum(targets.numel() for _, targets in parts)
    mean = torch.zeros((), device=trainee.device)
    for inputs, targets in parts:
        inputs = inputs.to(trainee.device, non_blocking=True)
        targets = targets.to(trainee.device, non_blocking=True)
        with trainee.autocast():
            loss = trainee.compiled.loss(inputs, targets) * (targets.numel() / tokens)
        torch.autograd.backward(trainee.scaler.scale(loss))
        mean += loss.detach()
    return mean


def _tell_smaller(job: Job, trainee: Trainee, step: int, before: int) -> None:
    job.recorder.notice(
        f"In step {step + 1:,} there was not enough memory for {before:,} sequences at a time: "
        f"training went on with {trainee.sequences_at_once:,}, at the same effective batch.",
        kind="memory",
        level="warning",
        step=step + 1,
    )
