"""What follows some of the steps: an evaluation, samples, a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, replace
from typing import Any

from trainer import formats
from trainer.config import SECRETS, as_flat, model_shape
from trainer.engine import evaluation, generation
from trainer.engine.evaluation import Evaluation
from trainer.engine.reporting import phase, time_left_evaluating
from trainer.engine.timing import evaluation_seconds_left
from trainer.engine.trainee import Job, Standing, Trainee
from trainer.inference.request import GenerationSettings
from trainer.store.records import Progress, now
from trainer.store.space import WAITING_FOR_SPACE


def evaluate_and_keep(job: Job, trainee: Trainee) -> bool:
    """Evaluate, sample and save; return False when a stop request came in between."""
    result = _evaluate(job, trainee)
    if result is None:
        return False
    evaluated_at = time.monotonic()
    standing = trainee.standing
    standing.evaluation_due = False
    trainee.last_evaluation, trainee.last_evaluated_step = result, standing.step
    best = standing.best_val_loss is None or result.loss < standing.best_val_loss
    if best:
        standing.best_val_loss = result.loss
        standing.best_val_word_perplexity = result.word_perplexity
    _record_evaluation(job, trainee, result)
    _sample(job, trainee)
    names = ["best"] if best else []
    if trainee.plan.ends_epoch(standing.step):
        names.append(f"epoch-{trainee.plan.epoch_number(standing.step)}")
    _save(job, trainee, names)
    trainee.costs.keeping.add(time.monotonic() - evaluated_at)
    return True


def _evaluate(job: Job, trainee: Trainee) -> Evaluation | None:
    training = trainee.config.training
    split = trainee.tokens.splits["validation"]
    began = time.monotonic()
    phase(job, "evaluating", trainee)

    def report(done: int, total: int) -> None:
        taken = time.monotonic() - began
        here = evaluation_seconds_left(taken, done, total)
        job.recorder.update(
            progress=Progress(phase="evaluating", done=done, total=total, unit="tokens"),
            elapsed_seconds=trainee.elapsed_seconds(),
            eta_seconds=time_left_evaluating(trainee, taken, here),
        )

    result = evaluation.evaluate(
        trainee.model,
        split.tokens,
        seq_length=training.seq_length,
        stride=evaluation.stride(trainee.config),
        words=split.words,
        byte_count=split.bytes,
        batch_size=trainee.windows_at_once,
        device=trainee.device,
        autocast=trainee.autocast,
        report=report,
        should_stop=lambda: job.stop.requested,
    )
    if result is not None:
        trainee.costs.evaluation.add(time.monotonic() - began)
        _note_smaller_batch(job, trainee, result.windows_at_once)
    return result


def _note_smaller_batch(job: Job, trainee: Trainee, windows_at_once: int) -> None:
    """Keep to a batch for which there was memory."""
    if windows_at_once < trainee.windows_at_once:
        job.recorder.notice(
            f"At step {trainee.standing.step:,} there was not enough memory to evaluate "
            f"{trainee.windows_at_once:,} sequences at a time: it went on with "
            f"{windows_at_once:,}.",
            kind="memory",
            level="warning",
            step=trainee.standing.step,
        )
        trainee.windows_at_once = windows_at_once


def _record_evaluation(job: Job, trainee: Trainee, result: Evaluation) -> None:
    standing, plan = trainee.standing, trainee.plan
    figures = {
        "val_loss": result.loss,
        "val_word_perplexity": result.word_perplexity,
        "val_bits_per_byte": result.bits_per_byte,
    }
    row = {
        "step": standing.step,
        "epoch": plan.epoch(standing.step),
        "tokens": standing.tokens,
        "elapsed_seconds": trainee.elapsed_seconds(),
        "seconds": result.seconds,
    }
    job.recorder.add("evaluations", row | figures)
    job.recorder.update(
        **figures,
        best_val_loss=standing.best_val_loss,
        best_val_word_perplexity=standing.best_val_word_perplexity,
    )
    job.recorder.event(
        "evaluated",
        f"Validation loss {formats.loss(result.loss)}, word perplexity "
        f"{formats.perplexity(result.word_perplexity)}, {result.bits_per_byte:.4f} bits per byte.",
        step=standing.step,
    )


def _sample(job: Job, trainee: Trainee) -> None:
    """Continue the fixed prompts, each always with its own seed, so that progress shows."""
    settings = trainee.config.evaluation
    for number, prompt in enumerate(settings.prompts):
        text = generation.sample(
            trainee.model,
            trainee.tokens.tokenizer,
            GenerationSettings(
                prompt=prompt,
                max_new_tokens=settings.sample_tokens,
                temperature=settings.sample_temperature,
                seed=(trainee.config.training.seed + number) % 2**63,
            ),
            device=trainee.device,
            autocast=trainee.autocast,
        )
        row = {"step": trainee.standing.step, "at": now(), "prompt": prompt, "text": text}
        job.recorder.add("samples", row)


def save(job: Job, trainee: Trainee) -> None:
    """Have ``latest.pt`` replaced by the run as it stands; see :class:`Saver`.

    Raises:
        SpoiltWeightsError: a weight is not finite; the checkpoint before is kept.
    """
    began = time.monotonic()
    _save(job, trainee)
    trainee.costs.save.add(time.monotonic() - began)


def _save(job: Job, trainee: Trainee, names: Sequence[str] = ()) -> None:
    phase(job, "saving", trainee)
    standing = replace(trainee.standing, elapsed_seconds=trainee.elapsed_seconds())
    trainee.saver.save(payload(trainee, standing), names)


def saved_at_last(job: Job, trainee: Trainee, give_up: Callable[[], bool]) -> bool:
    """Wait until the last save is on the disk, however long it has no space for it.

    Args:
        give_up: asked while the disk refuses it; when it says so, nothing more is tried.

    Returns:
        Whether it is there.
    """
    phase(job, "saving", trainee)

    def waiting() -> None:
        phase(job, WAITING_FOR_SPACE, trainee)
        job.recorder.update(eta_seconds=None)

    return trainee.saver.finish(waiting, give_up)


def payload(trainee: Trainee, standing: Standing) -> dict[str, Any]:
    """Everything that generation and a resumed run need, as plain values and tensors."""
    result = trainee.last_evaluation
    return {
        "model": trainee.model.state_dict(),
        "optimizer": trainee.optimizers.state_dict(),
        "scaler": trainee.scaler.state_dict(),
        "trained_on": {
            "type": trainee.device.type,
            "precision": trainee.precision,
            "compiled": trainee.compiled.active,
        },
        "config": _portable(as_flat(trainee.config)),
        "shape": asdict(model_shape(trainee.config.model)),
        "vocab_size": trainee.tokens.tokenizer.vocab_size,
        "context": trainee.config.training.seq_length,
        "tokenizer": trainee.tokens.tokenizer.to_json(),
        "corpus_key": trainee.tokens.key,
        "corpus_label": trainee.tokens.label,
        "segments": [astuple(segment) for segment in trainee.segments],
        "standing": asdict(standing),
        "step": standing.step,
        "epoch": trainee.plan.epoch_number(standing.step),
        "val_loss": result.loss if result else None,
        "val_word_perplexity": result.word_perplexity if result else None,
        "evaluated_step": trainee.last_evaluated_step,
    }


def _portable(values: dict[str, Any]) -> dict[str, Any]:
    """Return settings as plain values; a checkpoint may be given away, so secrets stay here."""
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}
    return {key: value for key, value in plain.items() if key not in SECRETS}
