"""The training loop, read in the order it happens: set up, fit, and what follows a step.

After every step: evaluate, sample, save, look for a stop request. What a step does is a function
of the configuration, the seed and the step's number alone: batches come from (seed, epoch), and
the generator of dropout is seeded anew from (seed, step), so a resumed run repeats nothing and
skips nothing.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from trainer import formats
from trainer.config import Config, as_flat, model_shape
from trainer.engine import (
    checkpoint,
    corpus,
    device,
    evaluation,
    generation,
    schedule,
    tokenization,
)
from trainer.engine.compilation import Compiled
from trainer.engine.dataloader import TrainingBatches
from trainer.engine.evaluation import Evaluation
from trainer.engine.model import GPT
from trainer.engine.optimizer import Optimizers
from trainer.engine.optimizer import build as build_optimizers
from trainer.engine.schedule import Segment
from trainer.engine.timing import (
    Plan,
    Speed,
    evaluation_seconds_left,
    expected_evaluation_seconds,
    seconds_left,
    tokens_per_second,
)
from trainer.engine.tokenization import TokenizedCorpus
from trainer.errors import CheckpointError, DataError, TrainingError
from trainer.inference.request import GenerationSettings
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder
from trainer.store.records import Progress, now
from trainer.store.workspace import RunPaths
from trainer.telemetry import Sampler

log = logging.getLogger(__name__)

Outcome = Literal["completed", "stopped"]
MAX_SKIPPED_IN_A_ROW = 10
_LOG_SECONDS = 10.0
_EVALUATED_AT_ONCE_TOKENS = 8192


@dataclass(frozen=True)
class Job:
    """What the worker hands over: the run to train and the pens to write with."""

    config: Config
    paths: RunPaths
    data_dir: Path
    recorder: Recorder
    stop: StopFlag
    checkpoint: str | None = None
    inherited_fds: Sequence[int] = ()


@dataclass
class Standing:
    """How far training has come; saved with every checkpoint."""

    step: int = 0
    tokens: int = 0
    elapsed_seconds: float = 0.0
    best_val_loss: float | None = None
    best_val_word_perplexity: float | None = None
    evaluation_due: bool = False
    skipped_steps: int = 0


@dataclass
class Trainee:
    """The parts that training moves, and the facts that stay."""

    config: Config
    device: torch.device
    precision: str
    tokens: TokenizedCorpus
    batches: TrainingBatches
    model: GPT
    optimizers: Optimizers
    scaler: torch.amp.GradScaler
    compiled: Compiled
    plan: Plan
    segments: tuple[Segment, ...]
    standing: Standing
    seconds_per_evaluation: float | None = None
    last_evaluation: Evaluation | None = None
    speed: Speed = field(default_factory=Speed)
    started_at: float = field(default_factory=time.monotonic)
    logged_at: float = 0.0

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which matrix products use the chosen precision."""
        return device.autocast(self.device, self.precision)

    def elapsed_seconds(self) -> float:
        """Return the time this run has been worked on, over all its processes."""
        return self.standing.elapsed_seconds + time.monotonic() - self.started_at


def train(job: Job) -> Outcome:
    """Train a run to its end, or until it is asked to stop.

    Raises:
        DataError: the text cannot be read or is too small.
        CheckpointError: the checkpoint to resume from is damaged or does not fit.
        TrainingError: the loss stays not finite.
    """
    started_at = time.monotonic()
    with job.stop.abandoning():
        trainee = set_up(job, started_at)
    sampler = _start_telemetry(job, trainee)
    try:
        return fit(job, trainee)
    finally:
        sampler.stop()


# ---------------------------------------------------------------------- set up


def set_up(job: Job, started_at: float) -> Trainee:
    """Build every part, from a checkpoint where there is one."""
    config, recorder = job.config, job.recorder
    saved = _load_checkpoint(job)
    chosen = device.choose(config.device.preference, config.device.strict)
    place = torch.device(chosen.device)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    precision, why = _choose_precision(config, place, saved)
    recorder.update(device=chosen.device, device_name=chosen.name, precision=precision)
    recorder.event("device", f"Training on {chosen.name} ({chosen.device}): {chosen.reason}")
    recorder.event("precision", f"Precision {precision}: {why}")
    if chosen.fell_back:
        recorder.notice(chosen.reason)

    tokens = _prepare_tokens(job, saved)
    _phase(job, "building model")
    batches = _build_batches(job, tokens)
    model, optimizers = _build_model(config, tokens, place, precision, saved)
    plan = _make_plan(config, batches)
    standing = Standing(**saved["standing"]) if saved else Standing()
    trainee = Trainee(
        config=config,
        device=place,
        precision=precision,
        tokens=tokens,
        batches=batches,
        model=model,
        optimizers=optimizers,
        scaler=_build_scaler(place, precision, saved),
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
        started_at=started_at,
    )
    _announce(job, trainee, saved)
    return trainee


def _load_checkpoint(job: Job) -> dict[str, Any] | None:
    if job.checkpoint is None:
        return None
    _phase(job, "loading checkpoint")
    path = job.paths.checkpoint(job.checkpoint)
    saved = checkpoint.load(path)
    if job.checkpoint != "latest":
        checkpoint.link(path, job.paths.checkpoint("latest"))
    return saved


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
    if saved is not None:
        ready = tokenization.open_prepared(job.data_dir, saved["corpus_key"], saved["corpus_label"])
        if ready is not None:
            return ready

    def report(progress: Progress) -> None:
        job.recorder.update(phase=progress.phase, progress=progress)

    text = corpus.load(job.config.data, job.data_dir / "datasets", report)
    tokens = tokenization.prepare(text, job.config.data, job.data_dir, report)
    if saved is not None and tokens.key != saved["corpus_key"]:
        raise DataError(
            f"The text in '{job.config.data.dataset_name}' is not the one this run learned from.",
            "Bring back the text as it was, or start a new run on the new text.",
        )
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
    config: Config,
    tokens: TokenizedCorpus,
    place: torch.device,
    precision: str,
    saved: dict[str, Any] | None,
) -> tuple[GPT, Optimizers]:
    torch.manual_seed(config.training.seed)
    shape = model_shape(config.model)
    vocab_size = tokens.tokenizer.vocab_size
    model = GPT(shape, vocab_size, config.training.seq_length, config.model.dropout).to(place)
    optimizers = build_optimizers(model, config.training, place, precision)
    if saved is not None:
        try:
            model.load_state_dict(saved["model"])
            optimizers.load_state_dict(saved["optimizer"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"The checkpoint does not fit this configuration: {str(error).splitlines()[0]}",
                "Sizes of the model, the optimizer and the vocabulary cannot change in a run.",
            ) from error
    return model, optimizers


def _build_scaler(
    place: torch.device, precision: str, saved: dict[str, Any] | None
) -> torch.amp.GradScaler:
    """Only fp16 needs its loss scaled; a disabled scaler passes everything through."""
    scaler = torch.amp.GradScaler(place.type, enabled=precision == "fp16")
    if saved is not None and saved["scaler"] and scaler.is_enabled():
        scaler.load_state_dict(saved["scaler"])
    return scaler


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
    if saved is None:
        return (Segment(0, plan.total_steps, 0.0),)
    old = tuple(Segment(*values) for values in saved["segments"])
    return schedule.extend(old, step, plan.total_steps, config.training)


def _announce(job: Job, trainee: Trainee, saved: dict[str, Any] | None) -> None:
    """Say what is about to happen, in the state, the log and the events."""
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
    if saved is not None:
        recorder.cut_after(standing.step)
        recorder.event(
            "resumed",
            f"Resumed from {job.checkpoint} at step {standing.step:,}.",
            step=standing.step,
        )


def _start_telemetry(job: Job, trainee: Trainee) -> Sampler:
    def deliver(row: dict[str, Any]) -> None:
        job.recorder.add(
            "system", {"at": now(), "elapsed_seconds": trainee.elapsed_seconds(), **row}
        )

    sampler = Sampler(deliver, gpu_uuid=device.uuid(trainee.device))
    sampler.start()
    return sampler


# ---------------------------------------------------------------------- fit


def fit(job: Job, trainee: Trainee) -> Outcome:
    """Do the steps that are left."""
    plan, standing = trainee.plan, trainee.standing
    job.recorder.update(status="running")
    if standing.evaluation_due and not _evaluate_and_keep(job, trainee):
        return _stopped(job, trainee)
    _phase(job, "compiling" if trainee.compiled.active else "training")
    mark = time.monotonic()
    for step, micro_batches in _steps(trainee):
        with _waiting_for_compiler(job, trainee):
            loss, grad_norm = _step(job, trainee, step, micro_batches)
        standing.step = step + 1
        standing.tokens += trainee.batches.tokens_per_step
        standing.evaluation_due = plan.evaluates(standing.step)
        _record_step(job, trainee, loss, grad_norm, time.monotonic() - mark)
        if job.stop.requested or not _follow_up(job, trainee):
            return _stopped(job, trainee)
        mark = time.monotonic()
    _phase(job, "finishing", trainee)
    return "completed"


def _follow_up(job: Job, trainee: Trainee) -> bool:
    """Evaluate and save where it is due; return False when a stop request came in between."""
    if trainee.standing.evaluation_due:
        if not _evaluate_and_keep(job, trainee):
            return False
    elif trainee.plan.saves(trainee.standing.step):
        _save(job, trainee)
    else:
        return True
    _phase(job, "training")
    return True


def _waiting_for_compiler(job: Job, trainee: Trainee) -> contextlib.AbstractContextManager[None]:
    """While the first step compiles there is nothing to lose: a stop request ends it at once."""
    return job.stop.abandoning() if trainee.compiled.warming_up else contextlib.nullcontext()


def _steps(trainee: Trainee) -> Iterator[tuple[int, list[Any]]]:
    first, last = trainee.standing.step, trainee.plan.total_steps
    return zip(range(first, last), trainee.batches.iterate(first, last), strict=True)


def _step(
    job: Job, trainee: Trainee, step: int, micro_batches: Iterable[Any]
) -> tuple[float, float]:
    """Do one optimizer step and return the mean loss of its tokens and the gradient's norm.

    Loss and gradient are looked at before the optimizer moves: a step whose gradient is not
    finite is skipped and counted, and training fails when that goes on.
    """
    config = trainee.config.training
    torch.manual_seed(step_seed(config.seed, step))
    loss = _accumulate(job, trainee, list(micro_batches))
    for optimizer in trainee.optimizers.parts:
        trainee.scaler.unscale_(optimizer)
    longest = config.clip_grad_norm or math.inf
    norm = float(torch.nn.utils.clip_grad_norm_(trainee.model.parameters(), longest))
    fraction = schedule.learning_rate_fraction(step, trainee.segments, config)
    trainee.optimizers.set_learning_rate(fraction)
    if math.isfinite(loss) and math.isfinite(norm):
        trainee.standing.skipped_steps = 0
        for optimizer in trainee.optimizers.parts:
            trainee.scaler.step(optimizer)
    else:
        _count_skip(job, trainee, step, loss, norm)
    trainee.scaler.update()
    trainee.optimizers.zero_grad()
    return loss, norm


def step_seed(seed: int, step: int) -> int:
    """Mix a run's seed and a step into the seed of that step's dropout (SplitMix64)."""
    mixed = (seed + (step + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return mixed ^ (mixed >> 31)


def _accumulate(job: Job, trainee: Trainee, micro_batches: list[Any]) -> float:
    """Add up the gradients of the micro-batches, which are all of the same size."""
    total = torch.zeros((), device=trainee.device)
    for inputs, targets in micro_batches:
        inputs = inputs.to(trainee.device, non_blocking=True)
        targets = targets.to(trainee.device, non_blocking=True)
        with trainee.autocast():
            loss = trainee.compiled.loss(inputs, targets) / len(micro_batches)
        torch.autograd.backward(trainee.scaler.scale(loss))
        total += loss.detach()
    return total.item()


def _count_skip(job: Job, trainee: Trainee, step: int, loss: float, norm: float) -> None:
    trainee.standing.skipped_steps += 1
    times = trainee.standing.skipped_steps
    job.recorder.event(
        "skipped",
        f"Step {step + 1:,} was skipped: loss {loss:g}, gradient norm {norm:g}.",
        level="warning",
        step=step + 1,
    )
    # A scaler of fp16 skips a few steps while it looks for its scale.
    if times >= MAX_SKIPPED_IN_A_ROW:
        raise TrainingError(
            f"The loss or its gradient was not finite in {times} steps in a row "
            f"(step {step + 1:,}).",
            'Lower training.learning_rate, or set training.precision = "off"; '
            "resume from a checkpoint before this step.",
        )


def _record_step(job: Job, trainee: Trainee, loss: float, grad_norm: float, seconds: float) -> None:
    """Hand one point to the recorder."""
    plan, standing = trainee.plan, trainee.standing
    if trainee.compiled.warming_up:
        trainee.compiled.warming_up = False
        _tell_compiled(job, trainee)
    else:
        trainee.speed.add(seconds)
    pace = trainee.speed.seconds_per_step
    norm = grad_norm if math.isfinite(grad_norm) else None
    point = {
        "step": standing.step,
        "epoch": plan.epoch(standing.step),
        "tokens": standing.tokens,
        "elapsed_seconds": trainee.elapsed_seconds(),
        "train_loss": loss if math.isfinite(loss) else None,
        "learning_rate": trainee.optimizers.learning_rate,
        "grad_norm": norm,
        "tokens_per_second": tokens_per_second(trainee.batches.tokens_per_step, seconds),
    }
    job.recorder.add("points", point)
    job.recorder.update(
        epoch=plan.epoch_number(standing.step),
        step=standing.step,
        tokens=standing.tokens,
        elapsed_seconds=point["elapsed_seconds"],
        train_loss=point["train_loss"],
        learning_rate=point["learning_rate"],
        tokens_per_second=tokens_per_second(trainee.batches.tokens_per_step, pace),
        eta_seconds=_time_left(trainee, trainee.seconds_per_evaluation),
    )
    _log_now_and_then(trainee, loss)


def _time_left(
    trainee: Trainee, evaluation_seconds: float | None, more: float = 0.0
) -> float | None:
    """Estimate the rest of the run; before the first evaluation its cost comes from the pace."""
    pace = trainee.speed.seconds_per_step
    if evaluation_seconds is None and pace is not None:
        evaluation_seconds = expected_evaluation_seconds(
            len(trainee.tokens.splits["validation"].tokens),
            window_share=evaluation.stride(trainee.config) / trainee.config.training.seq_length,
            training_tokens_per_second=trainee.batches.tokens_per_step / pace,
        )
    rest = seconds_left(trainee.plan, trainee.standing.step, pace, evaluation_seconds)
    return None if rest is None else rest + more


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
        "step %s/%s  epoch %.2f  loss %s  %s",
        f"{standing.step:,}",
        f"{plan.total_steps:,}",
        plan.epoch(standing.step),
        formats.loss(loss),
        formats.speed(pace),
    )


# ---------------------------------------------------------------------- after a step


def _evaluate_and_keep(job: Job, trainee: Trainee) -> bool:
    """Evaluate, sample and save; return False when a stop request came in between."""
    result = _evaluate(job, trainee)
    if result is None:
        return False
    standing = trainee.standing
    standing.evaluation_due = False
    trainee.last_evaluation = result
    best = standing.best_val_loss is None or result.loss < standing.best_val_loss
    if best:
        standing.best_val_loss = result.loss
        standing.best_val_word_perplexity = result.word_perplexity
    _record_evaluation(job, trainee, result)
    _sample(job, trainee)
    _save(job, trainee)
    latest = job.paths.checkpoint("latest")
    if best:
        checkpoint.link(latest, job.paths.checkpoint("best"))
    if trainee.plan.ends_epoch(standing.step):
        number = trainee.plan.epoch_number(standing.step)
        checkpoint.link(latest, job.paths.checkpoint(f"epoch-{number}"))
        checkpoint.keep_newest(job.paths.checkpoints, job.config.checkpoint.keep_last)
    return True


def _evaluate(job: Job, trainee: Trainee) -> Evaluation | None:
    training = trainee.config.training
    split = trainee.tokens.splits["validation"]
    began = time.monotonic()
    _phase(job, "evaluating", trainee)

    def report(done: int, total: int) -> None:
        taken = time.monotonic() - began
        here = evaluation_seconds_left(taken, done, total)
        job.recorder.update(
            progress=Progress(phase="evaluating", done=done, total=total, unit="tokens"),
            elapsed_seconds=trainee.elapsed_seconds(),
            eta_seconds=_time_left(trainee, evaluation_seconds=here + taken, more=here),
        )

    result = evaluation.evaluate(
        trainee.model,
        split.tokens,
        seq_length=training.seq_length,
        stride=evaluation.stride(trainee.config),
        words=split.words,
        byte_count=split.bytes,
        batch_size=max(training.batch_size, _EVALUATED_AT_ONCE_TOKENS // training.seq_length),
        device=trainee.device,
        autocast=trainee.autocast,
        report=report,
        should_stop=lambda: job.stop.requested,
    )
    trainee.seconds_per_evaluation = time.monotonic() - began
    return result


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


def _save(job: Job, trainee: Trainee) -> None:
    """Replace ``latest.pt`` by the run as it stands.

    The points up to this step are written first: a resume repeats only what lies past it.
    """
    _phase(job, "saving", trainee)
    job.recorder.flush()
    job.paths.checkpoints.mkdir(parents=True, exist_ok=True)
    standing = replace(trainee.standing, elapsed_seconds=trainee.elapsed_seconds())
    saved = checkpoint.save(job.paths.checkpoint("latest"), _payload(trainee, standing))
    job.recorder.event(
        "saved",
        f"Saved latest.pt at step {standing.step:,} ({formats.size(saved.bytes)}).",
        step=standing.step,
    )


def _payload(trainee: Trainee, standing: Standing) -> dict[str, Any]:
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
        "config": _plain(as_flat(trainee.config)),
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
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def _stopped(job: Job, trainee: Trainee) -> Outcome:
    """Save where training stands and end; what is due is done when the run goes on."""
    job.recorder.update(status="stopping")
    _save(job, trainee)
    _phase(job, "finishing", trainee)
    return "stopped"


def _phase(job: Job, words: str, trainee: Trainee | None = None) -> None:
    job.recorder.update(phase=words, progress=None)
    if trainee is not None:
        job.recorder.update(elapsed_seconds=trainee.elapsed_seconds())
