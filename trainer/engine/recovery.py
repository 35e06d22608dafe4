"""What happens when numbers stop being finite: skip, go back once, give up with the story."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from trainer.engine import checkpoint
from trainer.engine.milestones import save, saved_at_last
from trainer.engine.resuming import step_of
from trainer.engine.setup import restore
from trainer.engine.trainee import DoneStep, Job, Standing, Trainee
from trainer.errors import CheckpointError, NotFiniteError, TrainerError, TrainingError
from trainer.store.workspace import RunPaths

MAX_SKIPPED_IN_A_ROW = 10
SCALE_SEARCH_STEPS = 17
"""So many halvings bring the scale of fp16 from its first value, 65,536, to below 1."""

LOWERED = 0.5
"""The share of the learning rate that is kept after going back."""


def judge(job: Job, trainee: Trainee, done: DoneStep, loss: float, grad_norm: float) -> None:
    """Count a step that was skipped because its loss or gradient is not finite.

    An infinite gradient under a finite loss is how the scaler of fp16 finds its scale: such
    steps count only once it must have found it.

    Raises:
        NotFiniteError: it goes on like that.
    """
    standing = trainee.standing
    if math.isfinite(loss) and math.isfinite(grad_norm):
        standing.skipped_steps = standing.scale_search_steps = 0
        standing.first_skipped_step = None
        return
    job.recorder.event(
        "skipped",
        f"Step {done.step:,} was skipped: loss {loss:g}, gradient norm {grad_norm:g}.",
        level="warning",
        step=done.step,
    )
    searching = trainee.scaler.is_enabled() and math.isfinite(loss)
    if searching and standing.scale_search_steps < SCALE_SEARCH_STEPS:
        standing.scale_search_steps += 1
        return
    standing.skipped_steps += 1
    standing.first_skipped_step = standing.first_skipped_step or done.step
    if standing.skipped_steps >= MAX_SKIPPED_IN_A_ROW:
        raise NotFiniteError(
            f"The loss or its gradient was not finite in {standing.skipped_steps} steps in a row "
            f"(up to step {done.step:,}: loss {loss:g}, gradient norm {grad_norm:g})."
        )


def go_back(job: Job, trainee: Trainee, trouble: TrainerError) -> None:
    """Take the run back to its last good checkpoint, to go on at half the learning rate.

    The metrics past it are cut, so that every step still has one point. This is done once in a
    run.

    Raises:
        TrainingError: it was done before, or there is no checkpoint from before the trouble.
    """
    standing = trainee.standing
    trainee.saver.wait()
    if standing.setback is not None:
        raise _failure(trainee, f"{standing.setback} It happened again. {trouble.message}")
    good = _last_good(job.paths, standing.first_skipped_step or standing.step)
    if good is None:
        story = f"{trouble.message} There is no checkpoint from before it to go back to."
        raise _failure(trainee, story)
    name, saved = good
    newest = step_of(job.paths.checkpoint("latest"))
    setback = (
        f"{trouble.message} Training went back to {name} of step {saved['step']:,} and lowered the "
        f"learning rate to {LOWERED:g} times its plan."
    )
    _take_over(trainee, saved, setback)
    _tell_setback(job, trainee, setback)
    save(job, trainee)
    trainee.saver.wait()
    # Metrics are cut only down to a step that a resume would go on from.
    if newest <= saved["step"] or saved_at_last(job, trainee, lambda: job.stop.requested):
        job.recorder.cut_after(saved["step"])


def _failure(trainee: Trainee, story: str) -> TrainingError:
    rate = trainee.config.training.learning_rate
    return TrainingError(
        story,
        f"Start again with a training.learning_rate below {rate:g}"
        + (
            ', or with training.precision = "bf16" or "off".'
            if trainee.precision == "fp16"
            else "."
        ),
    )


def _last_good(paths: RunPaths, before_step: int) -> tuple[str, dict[str, Any]] | None:
    """Load the newest whole checkpoint that was saved before a step; also return its name."""
    known = [(checkpoint.read_info(path), path) for path in paths.checkpoints.glob("*.pt")]
    older = [(info.step, path) for info, path in known if info and info.step < before_step]
    for _, path in sorted(older, reverse=True):
        try:
            saved = checkpoint.load(path)
        except CheckpointError:
            continue
        if saved["step"] < before_step:
            return path.name, saved
    return None


def _take_over(trainee: Trainee, saved: dict[str, Any], setback: str) -> None:
    restore(saved, trainee.model, trainee.optimizers, trainee.scaler)
    trainee.readback.forget()
    trainee.optimizers.zero_grad()
    trainee.last_evaluation = trainee.last_evaluated_step = None
    now = trainee.standing
    trainee.standing = replace(
        Standing(**saved["standing"]),
        elapsed_seconds=now.elapsed_seconds,
        sequences_at_once=now.sequences_at_once,
        skipped_steps=0,
        first_skipped_step=None,
        scale_search_steps=0,
        learning_rate_factor=now.learning_rate_factor * LOWERED,
        setback=setback,
    )


def _tell_setback(job: Job, trainee: Trainee, setback: str) -> None:
    standing, recorder = trainee.standing, job.recorder
    recorder.update(
        step=standing.step,
        epoch=trainee.plan.epoch_number(standing.step),
        tokens=standing.tokens,
        best_val_loss=standing.best_val_loss,
        best_val_word_perplexity=standing.best_val_word_perplexity,
    )
    recorder.notice(setback, kind="setback", level="error", step=standing.step)
