"""What a run tells while it trains: its points, its state, its log and the time left."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from trainer import formats
from trainer.engine import device, utilisation
from trainer.engine.timing import seconds_left, tokens_per_second
from trainer.engine.trainee import DoneStep, Job, Trainee
from trainer.store.records import now
from trainer.telemetry import Sampler

log = logging.getLogger(__name__)

_LOG_SECONDS = 10.0


def announce(job: Job, trainee: Trainee, resumed_from: str | None) -> None:
    """Say what is about to happen, in the state, the log and the events.

    Args:
        resumed_from: the checkpoint that training goes on from, or None for a new run.
    """
    plan, standing, recorder = trainee.plan, trainee.standing, job.recorder
    parameters = sum(weight.numel() for weight in trainee.model.parameters())
    recorder.update(
        epochs=trainee.config.training.epochs,
        epoch=plan.epoch_number(standing.step),
        step=standing.step,
        total_steps=plan.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        tokens=standing.tokens,
        parameters=parameters,
        compiled=trainee.compiled.active,
        best_val_loss=standing.best_val_loss,
        best_val_word_perplexity=standing.best_val_word_perplexity,
        progress=None,
    )
    recorder.event("compile", trainee.compiled.reason)
    recorder.event(
        "plan",
        f"{formats.count(parameters)} parameters, {plan.total_steps:,} steps of "
        f"{trainee.batches.tokens_per_step:,} tokens, {plan.steps_per_epoch:,} steps an epoch.",
    )
    if resumed_from is not None:
        recorder.cut_after(standing.step, evaluated=not standing.evaluation_due)
        recorder.event(
            "resumed",
            f"Resumed from {resumed_from} at step {standing.step:,}.",
            step=standing.step,
        )


def start_telemetry(job: Job, trainee: Trainee) -> Sampler:
    def deliver(row: dict[str, Any]) -> None:
        job.recorder.add(
            "system", {"at": now(), "elapsed_seconds": trainee.elapsed_seconds(), **row}
        )

    sampler = Sampler(deliver, gpu_uuid=device.uuid(trainee.device))
    sampler.start()
    return sampler


def phase(job: Job, words: str, trainee: Trainee | None = None) -> None:
    job.recorder.update(phase=words, progress=None)
    if trainee is not None:
        job.recorder.update(elapsed_seconds=trainee.elapsed_seconds())


def record_step(
    job: Job, trainee: Trainee, done: DoneStep, loss: float, grad_norm: float, seconds: float
) -> None:
    """Hand one point to the recorder."""
    plan = trainee.plan
    if trainee.compiled.warming_up:
        trainee.compiled.warming_up = False
        _tell_compiled(job, trainee)
    else:
        trainee.speed.add(seconds)
        trainee.costs.step.add(seconds)
    pace = tokens_per_second(trainee.batches.tokens_per_step, trainee.speed.seconds_per_step)
    norm = grad_norm if math.isfinite(grad_norm) else None
    point = {
        "step": done.step,
        "epoch": plan.epoch(done.step),
        "tokens": done.tokens,
        "elapsed_seconds": trainee.elapsed_seconds(),
        "train_loss": loss if math.isfinite(loss) else None,
        "learning_rate": done.learning_rate,
        "grad_norm": norm,
        "tokens_per_second": tokens_per_second(trainee.batches.tokens_per_step, seconds),
    }
    job.recorder.add("points", point)
    job.recorder.update(
        epoch=plan.epoch_number(done.step),
        step=done.step,
        tokens=done.tokens,
        elapsed_seconds=point["elapsed_seconds"],
        train_loss=point["train_loss"],
        learning_rate=point["learning_rate"],
        tokens_per_second=pace,
        utilisation=trainee.utilisation(pace),
        eta_seconds=seconds_left(plan, done.step, trainee.costs),
    )
    _log_now_and_then(trainee, loss)


def time_left_evaluating(trainee: Trainee, taken: float, left: float) -> float | None:
    """Estimate the rest of the run in the middle of an evaluation.

    Args:
        taken, left: seconds of this evaluation so far, and those still to come.
    """
    costs = trainee.costs
    costs.evaluation.expect(taken + left)
    rest = seconds_left(trainee.plan, trainee.standing.step, costs, pending=False)
    return None if rest is None else left + (costs.keeping.value or 0.0) + rest


def _tell_compiled(job: Job, trainee: Trainee) -> None:
    """After the first step it is known whether compiling worked."""
    job.recorder.update(phase="training", progress=None, compiled=trainee.compiled.active)
    if not trainee.compiled.active:
        job.recorder.event("compile", trainee.compiled.reason, level="warning")


def _log_now_and_then(trainee: Trainee, loss: float) -> None:
    """Write a line of the training log every few seconds, and at the last step."""
    standing, plan = trainee.standing, trainee.plan
    now_seconds = time.monotonic()
    if now_seconds - trainee.logged_at < _LOG_SECONDS and standing.step < plan.total_steps:
        return
    trainee.logged_at = now_seconds
    pace = tokens_per_second(trainee.batches.tokens_per_step, trainee.speed.seconds_per_step)
    log.info(
        "step %s/%s  epoch %.2f  loss %s  %s%s",
        f"{standing.step:,}",
        f"{plan.total_steps:,}",
        plan.epoch(standing.step),
        formats.loss(loss),
        formats.speed(pace),
        utilisation.in_words(trainee.utilisation(pace)),
    )
