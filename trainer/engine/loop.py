"""The training loop, read in the order it happens: set up, fit, and what follows a step.

After every step: evaluate, sample, save, look for a stop request. What a step does is a function
of the configuration, the seed and the step's number alone: batches come from (seed, epoch), and
the generator of dropout is seeded anew from (seed, step), so a resumed run repeats nothing and
skips nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from trainer.engine import checkpoint, rehearsal
from trainer.engine.milestones import evaluate_and_keep, save, saved_at_last
from trainer.engine.readback import Reading
from trainer.engine.recovery import go_back, judge
from trainer.engine.reporting import phase, record_step, start_telemetry
from trainer.engine.setup import set_up
from trainer.engine.step import take_step
from trainer.engine.trainee import DoneStep, Job, Trainee
from trainer.errors import NotFiniteError

Outcome = Literal["completed", "stopped"]


def train(job: Job) -> Outcome:
    """Train a run to its end, or until it is asked to stop.

    Raises:
        DataError: the text cannot be read or is too small.
        CheckpointError: the checkpoint to resume from is damaged or does not fit.
        TrainingError: the loss stays not finite, or there is not enough memory.
    """
    started_at = time.monotonic()
    with job.stop.abandoning():
        trainee = set_up(job, started_at)
        rehearsal.measure(job, trainee)
    sampler = start_telemetry(job, trainee)
    try:
        return fit(job, trainee)
    finally:
        trainee.saver.close()
        sampler.stop()


def fit(job: Job, trainee: Trainee) -> Outcome:
    """Do the steps that are left, going back once where numbers stop being finite."""
    while True:
        try:
            return _go_on(job, trainee)
        except (NotFiniteError, checkpoint.SpoiltWeightsError) as trouble:
            go_back(job, trainee, trouble)


def _go_on(job: Job, trainee: Trainee) -> Outcome:
    job.recorder.update(status="running")
    if trainee.standing.evaluation_due and not evaluate_and_keep(job, trainee):
        return _stopped(job, trainee)
    phase(job, "compiling" if trainee.compiled.warming_up else "training")
    trainee.timed_until = time.monotonic()
    for step, micro_batches in _steps(trainee):
        _expect_compiler(job, trainee, step)
        with _waiting_for_compiler(job, trainee):
            figures = take_step(job, trainee, step, micro_batches)
            _settle(job, trainee, trainee.readback.add(_count(trainee), figures))
            if trainee.compiled.warming_up:
                _settle(job, trainee, trainee.readback.drain())
        if job.stop.requested or not _follow_up(job, trainee):
            return _stopped(job, trainee)
    if not saved_at_last(job, trainee, give_up=lambda: job.stop.requested):
        return _unsaved(job, trainee)
    phase(job, "finishing", trainee)
    return "completed"


def _count(trainee: Trainee) -> DoneStep:
    """Count the step that was just handed to the device."""
    standing = trainee.standing
    standing.step += 1
    standing.tokens += trainee.batches.tokens_per_step
    standing.evaluation_due = trainee.plan.evaluates(standing.step)
    return DoneStep(standing.step, standing.tokens, trainee.optimizers.learning_rate)


def _settle(job: Job, trainee: Trainee, readings: Iterable[Reading[DoneStep]]) -> None:
    """Record the steps whose figures are read by now; each lasted since the one before it."""
    for done, (loss, grad_norm) in readings:
        now = time.monotonic()
        seconds, trainee.timed_until = now - trainee.timed_until, now
        record_step(job, trainee, done, loss, grad_norm, seconds)
        judge(job, trainee, done, loss, grad_norm)


def _follow_up(job: Job, trainee: Trainee) -> bool:
    """Evaluate and save where it is due; return False when a stop request came in between."""
    standing, saver = trainee.standing, trainee.saver
    saver.attend()
    if not (trainee.plan.saves(standing.step) or saver.due):
        return True
    _settle(job, trainee, trainee.readback.drain())
    if standing.evaluation_due:
        if not evaluate_and_keep(job, trainee):
            return False
    elif standing.skipped_steps == 0:
        # Weights on which the last steps failed must not replace those that were saved.
        save(job, trainee)
    phase(job, "training")
    trainee.timed_until = time.monotonic()
    return True


def _expect_compiler(job: Job, trainee: Trainee, step: int) -> None:
    """Where sequences stop being cut, the step is compiled for another shape."""
    changed = step > 0 and trainee.sequence_parts(step) != trainee.sequence_parts(step - 1)
    if changed and trainee.compiled.active and not trainee.compiled.warming_up:
        _settle(job, trainee, trainee.readback.drain())
        trainee.compiled.warming_up = True
        phase(job, "compiling")


def _waiting_for_compiler(job: Job, trainee: Trainee) -> contextlib.AbstractContextManager[None]:
    """While the first step compiles there is nothing to lose: a stop request ends it at once."""
    at_start = trainee.compiled.warming_up and not trainee.speed.seconds_per_step
    return job.stop.abandoning() if at_start else contextlib.nullcontext()


def _steps(trainee: Trainee) -> Iterator[tuple[int, list[Any]]]:
    first, last = trainee.standing.step, trainee.plan.total_steps
    return zip(range(first, last), trainee.batches.iterate(first, last), strict=True)


def _stopped(job: Job, trainee: Trainee) -> Outcome:
    """Save where training stands and end; what is due is done when the run goes on."""
    job.recorder.update(status="stopping")
    _settle(job, trainee, trainee.readback.drain())
    save(job, trainee)
    saved_at_last(job, trainee, give_up=lambda: False)
    phase(job, "finishing", trainee)
    return "stopped"


def _unsaved(job: Job, trainee: Trainee) -> Outcome:
    """The last step is done and the disk did not take it before someone asked for the end."""
    failure = trainee.saver.failure
    job.recorder.notice(
        f"The run was stopped at step {trainee.standing.step:,} before that step could be saved. "
        f"{failure} A resume from then repeats the steps since the checkpoint before.",
        kind="not-saved",
        level="error",
        step=trainee.standing.step,
    )
    return "stopped"
