"""Building every part of a run, anew or from a checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from trainer.choosing import Choice
from trainer.config import Config, model_shape
from trainer.engine import (
    cooccurrence,
    corpus,
    device,
    evaluation,
    reopening,
    schedule,
    tokenization,
)
from trainer.engine.compilation import Compiled
from trainer.engine.dataloader import TrainingBatches
from trainer.engine.model import GPT
from trainer.engine.optimizer import Optimizers
from trainer.engine.optimizer import build as build_optimizers
from trainer.engine.patience import with_space
from trainer.engine.readback import Readback, delay_steps
from trainer.engine.reporting import announce, phase
from trainer.engine.resuming import resume
from trainer.engine.saving import Saver
from trainer.engine.schedule import Segment
from trainer.engine.timing import Costs, Plan
from trainer.engine.tokenization import TokenizedCorpus
from trainer.engine.trainee import Job, Standing, Trainee
from trainer.errors import CheckpointError
from trainer.store.records import Progress


def set_up(job: Job, started_at: float) -> Trainee:
    """Build every part, from a checkpoint where there is one."""
    config, recorder = job.config, job.recorder
    resumption = resume(job)
    saved = resumption.payload if resumption else None
    chosen = _choose_device(job)
    place = torch.device(chosen.device)
    device.use(place)
    precision, why = _choose_precision(config, place, saved)
    recorder.update(device=chosen.device, device_name=chosen.name, precision=precision)
    recorder.event("device", f"Training on {chosen.name} ({chosen.device}): {chosen.reason}")
    recorder.event("precision", f"Precision {precision}: {why}")
    if chosen.fell_back:
        recorder.notice(chosen.reason)

    tokens = _prepare_tokens(job, saved)
    phase(job, "building model")
    batches = _build_batches(job, tokens)
    model, optimizers = _build_model(config, tokens, place, precision)
    # Only fp16 needs its loss scaled; a disabled scaler passes everything through.
    scaler = torch.amp.GradScaler(place.type, enabled=precision == "fp16")
    if saved is not None:
        restore(saved, model, optimizers, scaler)
    else:
        phase(job, "counting neighbours")
        start_embedding(config, tokens, model)
    plan = _make_plan(config, batches)
    standing = _standing(saved, place)
    costs = Costs()
    trainee = Trainee(
        config=config,
        device=place,
        precision=precision,
        tokens=tokens,
        batches=batches,
        model=model,
        optimizers=optimizers,
        scaler=scaler,
        compiled=Compiled.decide(
            config,
            model,
            plan.total_steps - standing.step,
            place,
            before=saved["trained_on"]["compiled"] if saved else None,
        ),
        plan=plan,
        segments=_segments(config, plan, saved, standing.step),
        standing=standing,
        readback=Readback(delay_steps(place)),
        costs=costs,
        saver=Saver(job.paths, recorder, config.checkpoint, costs),
        windows_at_once=evaluation.windows_at_once(config),
        started_at=started_at,
    )
    announce(job, trainee, resumption.name if resumption else None)
    return trainee


def _choose_device(job: Job) -> Choice:
    """Choose the device that the run has waited for where it fits, and wait for another one."""
    wish = job.config.device
    chosen = device.choose(wish.preference, wish.strict, job.queued_for)
    job.follow_device(chosen.key, chosen.device)
    return chosen


def _choose_precision(
    config: Config, place: torch.device, saved: dict[str, Any] | None
) -> tuple[str, str]:
    """Choose the precision; a resumed run keeps the one it had where that was chosen for it.

    On a CPU ``auto`` is measured, and another result would be another curve.
    """
    if config.training.precision == "auto" and saved and saved["trained_on"]["type"] == place.type:
        return saved["trained_on"]["precision"], "as before the resume"
    return device.choose_precision(config.training.precision, place)


def _prepare_tokens(job: Job, saved: dict[str, Any] | None) -> TokenizedCorpus:
    """Open the token files, or make them; a resumed run must find the very text it learned."""

    def report(progress: Progress) -> None:
        job.recorder.update(phase=progress.phase, progress=progress)

    def make() -> TokenizedCorpus:
        if saved is not None:
            return reopening.reopen(saved, job.config.data, job.data_dir, report)
        text = corpus.load(job.config.data, job.data_dir / "datasets", report)
        return tokenization.prepare(text, job.config.data, job.data_dir, report)

    tokens = with_space(make, job.data_dir, job.recorder)
    if tokens.repaired is not None:
        job.recorder.event("tokens", tokens.repaired, level="warning")
    for note in tokens.notes:
        job.recorder.notice(note)
    job.recorder.update(dataset=tokens.label)
    return tokens


def _build_batches(job: Job, tokens: TokenizedCorpus) -> TrainingBatches:
    training = job.config.training
    on_gpu = job.recorder.state.device != "cpu"
    pin = training.dataloader_pin_memory
    return TrainingBatches(
        tokens.splits["train"].tokens,
        batch_size=training.batch_size,
        seq_length=training.seq_length,
        grad_accum_steps=training.grad_accum_steps,
        seed=training.seed,
        workers=training.dataloader_workers,
        prefetch_factor=training.dataloader_prefetch_factor,
        pin_memory=on_gpu if pin is None else pin and on_gpu,
        inherited_fds=job.inherited_fds,
    )


def _build_model(
    config: Config, tokens: TokenizedCorpus, place: torch.device, precision: str
) -> tuple[GPT, Optimizers]:
    torch.manual_seed(config.training.seed)
    shape = model_shape(config.model)
    vocab_size = tokens.tokenizer.vocab_size
    model = GPT(shape, vocab_size, config.training.seq_length, config.model.dropout).to(place)
    counted = config.model.embedding_init == "cooccurrence"
    ratio = cooccurrence.LEARNING_RATE_RATIO if counted else 1.0
    return model, build_optimizers(model, config.training, place, precision, embedding_ratio=ratio)


def start_embedding(config: Config, tokens: TokenizedCorpus, model: GPT) -> None:
    """Give a new model its first embeddings from the training text, where that is asked for."""
    if config.model.embedding_init == "normal":
        return
    weight = model.embedding.weight
    first = cooccurrence.embedding(
        tokens.splits["train"].tokens,
        *weight.shape,
        seed=config.training.seed,
        device=weight.device,
    )
    weight.data.copy_(first)


def restore(
    saved: dict[str, Any], model: GPT, optimizers: Optimizers, scaler: torch.amp.GradScaler
) -> None:
    """Bring weights, momenta and the scale of fp16 back to what a checkpoint holds.

    Raises:
        CheckpointError: it is of a model or optimizer of another size.
    """
    try:
        model.load_state_dict(saved["model"])
        if saved["optimizer"]:
            optimizers.load_state_dict(saved["optimizer"])
        else:  # An imported model has none yet.
            optimizers.forget()
    except (RuntimeError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint does not fit this configuration: {str(error).splitlines()[0]}",
            "Sizes of the model, the optimizer and the vocabulary cannot change in a run.",
        ) from error
    if saved["scaler"] and scaler.is_enabled():
        scaler.load_state_dict(saved["scaler"])


def _standing(saved: dict[str, Any] | None, place: torch.device) -> Standing:
    """Take up where training stood; another kind of device has another memory."""
    if saved is None:
        return Standing()
    standing = Standing(**saved["standing"])
    if saved["trained_on"]["type"] != place.type:
        standing.sequences_at_once = None
    return standing


def _make_plan(config: Config, batches: TrainingBatches) -> Plan:
    return Plan.of(
        steps_per_epoch=batches.steps_per_epoch,
        epochs=config.training.epochs,
        max_steps=config.training.max_steps,
        evaluate_every=config.evaluation.every_steps,
        save_every=config.checkpoint.every_steps,
    )


def _segments(
    config: Config, plan: Plan, saved: dict[str, Any] | None, step: int
) -> tuple[Segment, ...]:
    """Return the learning-rate plan; a run whose end has moved gets a further segment."""
    if saved is None or not saved["segments"]:  # A new run, or an imported model.
        return (Segment(0, plan.total_steps, 0.0),)
    old = tuple(Segment(*values) for values in saved["segments"])
    return schedule.extend(old, step, plan.total_steps, config.training)
