"""What the terminal view says about a run, as plain text: pure functions of its state."""

from __future__ import annotations

from trainer import formats
from trainer.config import Config, model_shape
from trainer.queueing import place_words
from trainer.runs import Run, progress_percent
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import ACTIVE, State, Status

STATUS_STYLES: dict[Status, str] = {
    "queued": "cyan",
    "preparing": "cyan",
    "running": "green",
    "stopping": "yellow",
    "stopped": "yellow",
    "completed": "blue",
    "failed": "bold red",
    "interrupted": "red",
}
"""Colour that goes with a status word, never instead of it."""


def percent_words(percent: float | None) -> str:
    """Write ``42 %``, rounded down: 100 % is said only when everything is done."""
    return "" if percent is None else f"{int(percent)} %"


def status_words(state: State) -> str:
    """Write ``running 42 %`` or ``queued 2nd``; others have no progress to tell."""
    if state.queue is not None:
        return f"queued {formats.ordinal(state.queue.position)}"
    if state.status not in ("running", "stopping"):
        return state.status
    return f"{state.status} {percent_words(progress_percent(state))}".strip()


def paused_words(state: State) -> str:
    """Write ``paused 42 %`` for a run whose process is held up."""
    return f"paused {percent_words(progress_percent(state))}".strip()


def start_words(run: Run, started: str) -> str:
    """Confirm that a run was launched: it has started, or it waits."""
    place = place_words(run.state.queue)
    return f"{run.title} is queued, {place}." if place else started


def time_words(state: State) -> str:
    """Write the time left of an active run, or how long an ended one took."""
    if state.status in ACTIVE:
        return formats.time_left(state.eta_seconds)
    return formats.duration(state.elapsed_seconds)


def bar(percent: float, width: int) -> tuple[str, str]:
    """Return the done and the open part of a progress bar, together ``width`` cells wide.

    The parts differ in shape too, so that the bar reads without colour.
    """
    done = int(width * min(100.0, max(0.0, percent)) / 100)
    return "━" * done, "┈" * (width - done)


def phase_percent(state: State) -> float | None:
    """Return how far the long step under way has come, or else the whole run."""
    progress = state.progress
    if progress is not None and progress.total:
        return formats.percent(progress.done, progress.total)
    return progress_percent(state)


def figures(state: State) -> list[tuple[str, str]]:
    """Return the run's present figures as (name, value) pairs, the most telling first."""
    of_steps = f"/{state.total_steps:,}" if state.total_steps else ""
    of_epochs = f"/{state.epochs:,}" if state.epochs else ""
    return [
        ("epoch", f"{state.epoch:,}{of_epochs}" if state.epoch is not None else formats.ABSENT),
        ("step", f"{state.step:,}{of_steps}" if state.step is not None else formats.ABSENT),
        ("train", formats.loss(state.train_loss)),
        ("val", formats.loss(state.val_loss)),
        ("ppl", formats.perplexity(state.val_word_perplexity)),
        ("speed", formats.speed(state.tokens_per_second)),
    ]


def facts(state: State) -> list[tuple[str, str]]:
    """Return what else is known of a run as (name, value) pairs."""
    bits = state.val_bits_per_byte
    return [
        ("run id", state.run_id),
        ("dataset", state.dataset or formats.ABSENT),
        ("device", state.device_name or state.device or formats.ABSENT),
        ("precision", precision_words(state)),
        ("parameters", formats.count(state.parameters)),
        ("tokens seen", formats.count(state.tokens)),
        ("best val loss", formats.loss(state.best_val_loss)),
        ("best perplexity", formats.perplexity(state.best_val_word_perplexity)),
        ("bits per byte", formats.ABSENT if bits is None else f"{bits:.4f}"),
        ("learning rate", formats.learning_rate(state.learning_rate)),
        ("worked for", formats.duration(state.elapsed_seconds)),
    ]


def precision_words(state: State) -> str:
    """Write the numbers that are computed with, ``fp32`` where no mixed precision is on."""
    precision = "fp32" if state.precision == "off" else state.precision or formats.ABSENT
    return f"{precision}, compiled" if state.compiled else precision


def ending_words(run: Run) -> str:
    """Say in a sentence how a run has ended."""
    state = run.state
    if state.error is not None:
        return f"{run.title} {_ended(state.status)}: {state.error.message} {state.error.hint}"
    sentence = f"{run.title} {_ended(state.status)} after {formats.duration(state.elapsed_seconds)}"
    if state.best_val_word_perplexity is None:
        return f"{sentence}."
    best = formats.perplexity(state.best_val_word_perplexity)
    return f"{sentence}; best validation perplexity {best}."


def _ended(status: Status) -> str:
    return {"completed": "is complete", "stopped": "has stopped", "failed": "failed"}.get(
        status, f"was {status}"
    )


def counts_words(active: int, shown: int, total: int, query: str) -> str:
    """Write ``2 active · 14 runs`` or, with a filter, how many of them match."""
    runs = "1 run" if total == 1 else f"{total:,} runs"
    if query:
        runs = f"{shown:,} of {runs} match '{query}'"
    return f"{active:,} active · {runs}" if active else runs


def next_run_words(epochs: int | None, device: str | None) -> str:
    """Say what ``[``, ``]`` and ``d`` have chosen for the next run."""
    length = "epochs as configured" if epochs is None else formats.plural(epochs, "epoch")
    place = "device as configured" if device is None else f"device {device}"
    return f"Next run: {length}, {place}"


def model_words(config: Config) -> str:
    """Say how large a configuration is: parameters, tokens of a step, context."""
    training = config.training
    parameters = model_shape(config.model).parameters(config.data.vocab_size)
    tokens = training.batch_size * training.seq_length * training.grad_accum_steps
    return (
        f"{formats.count(parameters)} parameters · {formats.count(tokens)} tokens a step · "
        f"context {training.seq_length:,}"
    )


def resume_words(
    state: State, checkpoint: Checkpoint, more_epochs: int, max_steps: int | None
) -> str:
    """Say what resuming will do."""
    target = _target_words(state, more_epochs, max_steps)
    sentence = f"Goes on from step {checkpoint.step:,}{target}"
    lost = (state.step or 0) - checkpoint.step
    if lost > 0:
        return f"{sentence}, doing {formats.plural(lost, 'step')} again."
    return f"{sentence}, on the same curve."


def _target_words(state: State, more_epochs: int, max_steps: int | None) -> str:
    """Say how far a resumed run goes; ``max_steps`` may end it within an epoch."""
    if max_steps is None:
        epochs = (state.epochs or 0) + more_epochs
        return f" to the end of epoch {epochs:,}" if epochs else ""
    if not more_epochs:
        return f" to step {state.total_steps or max_steps:,}"
    steps = more_epochs * (state.steps_per_epoch or 0)
    about = f": about {formats.plural(steps, 'step')} more" if steps else ""
    return f" and adds {formats.plural(more_epochs, 'epoch')}{about}"


def checkpoint_words(checkpoint: Checkpoint) -> str:
    """Write one checkpoint as a line to choose from."""
    parts = [checkpoint.name, f"step {checkpoint.step:,}"]
    if checkpoint.val_loss is not None:
        at = checkpoint.evaluated_before
        where = "" if at is None else f" at step {at:,}"
        parts.append(f"val loss {formats.loss(checkpoint.val_loss)}{where}")
    if checkpoint.bytes:
        parts.append(formats.size(checkpoint.bytes))
    if checkpoint.pinned:
        parts.append("pinned")
    return " · ".join(parts)


def farewell(active: int) -> str:
    """Say on leaving that runs are not affected by it."""
    runs = "1 run" if active == 1 else f"{active:,} runs"
    return f"Training goes on: {runs} active. See 'llm-trainer status' or come back here."
