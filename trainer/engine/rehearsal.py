"""Measuring, before the first step, the machine and what the pauses of a run will cost.

The first evaluation may come late in a run, and the time left has to know it long before. A
guess from the pace of training would not do: training may be compiled, an evaluation is not.
"""

from __future__ import annotations

import time

from trainer.engine import evaluation, generation
from trainer.engine.timing import evaluation_seconds, expected_in_words, saving_seconds
from trainer.engine.trainee import Job, Trainee
from trainer.engine.utilisation import measure_peak
from trainer.inference.request import GenerationSettings

TRIED_TOKENS_ON_CPU = 2048
"""Tokens in the one batch that is tried on a CPU; a GPU gets a whole one, since its time hardly
depends on the size of a small batch."""

_TRIED_SAMPLE_TOKENS = 8


def measure(job: Job, trainee: Trainee) -> None:
    """Measure what the time left and the utilisation of a run rest on, and tell it."""
    trainee.peak = measure_peak(trainee.device, trainee.precision)
    job.recorder.event("peak", str(trainee.peak))
    rehearse(trainee)
    job.recorder.event("rehearsed", expected_in_words(trainee.costs))


def rehearse(trainee: Trainee, *, whole_batch: bool = False) -> None:
    """Set what ``trainee.costs`` expects of evaluations, samples and checkpoints.

    Nothing of the run changes: neither weights nor random numbers that a step draws.

    Args:
        whole_batch: try an evaluation's batch in its whole size on a CPU too.
    """
    costs = trainee.costs
    saving, writing = saving_seconds(trainee.model.shape.parameters(trainee.model.vocab_size))
    costs.evaluation.expect(_evaluation_seconds(trainee, whole_batch))
    costs.keeping.expect(_samples_seconds(trainee) + saving)
    costs.save.expect(saving)
    costs.writing.expect(writing)


def _evaluation_seconds(trainee: Trainee, whole_batch: bool) -> float:
    """Score the first window of the validation text, to warm up, and one batch; time the batch."""
    split = trainee.tokens.splits["validation"]
    length, stride = trainee.config.training.seq_length, evaluation.stride(trainee.config)
    at_once = trainee.windows_at_once
    if trainee.device.type == "cpu" and not whole_batch:
        at_once = min(at_once, max(1, TRIED_TOKENS_ON_CPU // length))
    scoring = evaluation.score(
        trainee.model,
        split.tokens[: length + 1 + at_once * stride],
        seq_length=length,
        stride=stride,
        words=split.words,
        byte_count=split.bytes,
        batch_size=at_once,
        device=trainee.device,
        autocast=trainee.autocast,
    )
    began = time.monotonic()
    first, total = next(scoring)
    warmed_up = time.monotonic()
    done = next(scoring, (first, total))[0]
    if done == first:  # The text is no longer than a window.
        return warmed_up - began
    taken = time.monotonic() - warmed_up
    return evaluation_seconds(
        len(split.tokens),
        seq_length=length,
        stride=stride,
        window_seconds=taken * stride / (done - first),
    )


def _samples_seconds(trainee: Trainee) -> float:
    """Write the beginning of the first sample, and take the rest to go on at that pace."""
    settings = trainee.config.evaluation
    if not settings.prompts:
        return 0.0
    tried = min(_TRIED_SAMPLE_TOKENS, settings.sample_tokens)
    pieces = generation.stream(
        trainee.model,
        trainee.tokens.tokenizer,
        GenerationSettings(
            prompt=settings.prompts[0],
            max_new_tokens=tried,
            temperature=settings.sample_temperature,
            seed=trainee.config.training.seed,
        ),
        device=trainee.device,
        autocast=trainee.autocast,
    )
    next(pieces)  # It reads the prompt.
    began = time.monotonic()
    written = sum(1 for piece in pieces if piece.finish_reason is None)
    seconds_per_token = (time.monotonic() - began) / max(1, written)
    return len(settings.prompts) * settings.sample_tokens * seconds_per_token
