"""Runs in words: the rows, lines and details that the commands show. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer import formats
from trainer.cli.output import aligned, bar, emphasis, faint
from trainer.cli.table import Column, render
from trainer.queueing import place_words
from trainer.runs import (
    DeletedRun,
    Run,
    phase_words,
    progress_percent,
    since_word,
    status_word,
    urgent_words,
    warning,
)
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import ACTIVE, State, Status
from trainer.telemetry import GpuReading

_STATUS_COLOURS: dict[str, str] = {
    "queued": "blue",
    "preparing": "blue",
    "running": "cyan",
    "stopping": "yellow",
    "paused": "yellow",
    "stopped": "yellow",
    "completed": "green",
    "failed": "red",
    "interrupted": "red",
}


ENDINGS: dict[Status, str] = {
    "completed": "is complete",
    "stopped": "was stopped",
    "failed": "failed",
    "interrupted": "was interrupted",
}


def status_look(status: str) -> Mapping[str, Any]:
    """Return the style of a status, by its first word; the word itself says the same."""
    colour = _STATUS_COLOURS.get(status.partition(" ")[0])
    return {"fg": colour} if colour else {}


_COLUMNS = (
    Column("RUN"),
    Column("NAME", flexible=True, drop=3),
    Column("STATUS", look=status_look),
    Column("DOING", flexible=True, drop=8),
    Column("DONE", right=True, drop=1),
    Column("LOSS", right=True, drop=2),
    Column("BEST PPL", right=True, drop=4),
    Column("LEFT", right=True, drop=5),
    Column("TOOK", right=True, drop=7),
    Column("STARTED", right=True, drop=6),
    Column("SPEED", right=True, drop=9),
    Column("DEVICE", drop=10),
    Column("TAGS", flexible=True, drop=11),
)


def run_table(runs: Sequence[Run], width: int) -> list[str]:
    """Return the table of runs, as wide as the screen and no wider."""
    return render(_COLUMNS, [run_cells(run) for run in runs], width)


def warning_lines(runs: Sequence[Run]) -> list[str]:
    """Return a line for each run that is in trouble or damaged, for below the table."""
    told = ((run, warning(run)) for run in runs)
    return [
        emphasis(f"{run.run_id} {found[0]}: ", fg="yellow") + formats.harmless(found[1])
        for run, found in told
        if found
    ]


_DELETED_COLUMNS = (
    Column("RUN"),
    Column("NAME", flexible=True, drop=2),
    Column("STATUS", look=status_look, drop=4),
    Column("DELETED", right=True, drop=3),
    Column("KEPT", right=True),
    Column("SIZE", right=True, drop=1),
)


def deleted_lines(deleted: Sequence[DeletedRun], width: int) -> list[str]:
    """Return the table of runs that can be brought back; nothing when there are none."""
    rows = [
        [
            run.run_id,
            "" if run.title == run.run_id else run.title,
            run.status or "checkpoints",
            formats.age(run.deleted_at),
            formats.kept_for(run.kept_until),
            formats.size(run.bytes),
        ]
        for run in deleted
    ]
    return render(_DELETED_COLUMNS, rows, width) if rows else []


def run_cells(run: Run) -> list[str]:
    """Return one row of the table of runs; what is not known yet is empty."""
    state = run.state
    return [
        run.run_id,
        run.annotations.name or "",
        _status(run),
        place_words(state.queue) or state.phase or "",
        percent_words(done_percent(state)),
        known(state.train_loss, formats.loss),
        known(state.best_val_word_perplexity, formats.perplexity),
        known(state.eta_seconds, formats.duration),
        "" if run.active else known(state.elapsed_seconds, formats.duration),
        formats.age(state.created_at),
        known(state.tokens_per_second, formats.speed) if run.active else "",
        state.device or "",
        ", ".join(run.annotations.tags),
    ]


def _status(run: Run) -> str:
    if run.state.queue is None or run.paused:
        return status_word(run)
    return f"queued {formats.ordinal(run.state.queue.position)}"


def known(value: float | None, write: Callable[[float], str], name: str = "") -> str:
    """Write a value, after its name if it has one; nothing for a value that is not known."""
    return "" if value is None else f"{name} {write(value)}".strip()


def done_percent(state: State) -> float | None:
    """Return how much of the training is done, and before it how much of the present step."""
    percent = progress_percent(state)
    if percent is None and state.progress is not None:
        return formats.percent(state.progress.done, state.progress.total)
    return percent


def percent_words(percent: float | None) -> str:
    """Write a whole percentage, never 100 before the end."""
    return known(percent, lambda share: f"{int(share)} %")


# --------------------------------------------------------------------------- one line


def progress_line(state: State) -> str:
    """Tell in one line of about 80 characters at most how a run is doing."""
    if state.queue is not None:
        return f"queued, {place_words(state.queue)}"
    training = state.phase == "training"
    started = state.status in ("running", "stopping")
    parts = [
        phase_words(state) if not training else "" if state.status == "running" else state.status,
        percent_words(progress_percent(state)) if started else "",
        of_whole_short(state.epoch, state.epochs, "epoch") if started else "",
        *(_live_figures(state) if training else ()),
        known(state.eta_seconds, formats.time_left),
    ]
    return " · ".join(part for part in parts if part)


def of_whole_short(number: int | None, whole: int | None, name: str) -> str:
    """Write ``epoch 2/3``."""
    return known(number, lambda value: f"{value:,}" + known(whole, lambda end: f"/{end:,}"), name)


def _live_figures(state: State) -> list[str]:
    return [
        known(state.train_loss, formats.loss, "loss"),
        known(state.val_word_perplexity, formats.perplexity, "ppl"),
        known(state.tokens_per_second, formats.speed),
    ]


def outcome(run: Run, advice: str = "") -> list[str]:
    """Tell how a run has ended, and what can be done about it."""
    state = run.state
    facts = [
        known(state.step, lambda step: f"{step:,} steps"),
        known(state.elapsed_seconds, formats.duration),
        known(state.best_val_word_perplexity, formats.perplexity, "best word perplexity"),
    ]
    told = ", ".join(fact for fact in facts if fact)
    why = "" if state.error is None else state.error.message
    first = f"Run {run.run_id} {ENDINGS[run.status]}" + (f": {told}." if told else ".")
    lines = [first, why, advice]
    return [formats.harmless(line) for line in lines if line]


# --------------------------------------------------------------------------- one run in detail


def run_detail(
    run: Run,
    checkpoints: Sequence[Checkpoint],
    gpus: Sequence[GpuReading],
    width: int,
    advice: str = "",
) -> list[str]:
    """Return everything about one run, a labelled line each, and what can be done about it."""
    title = emphasis(run.run_id) + (f"  {run.annotations.name}" if run.annotations.name else "")
    pairs = [
        *_doing(run),
        *_figures(run.state),
        *_machine(run.state, gpus),
        *_about(run),
        ("checkpoints", ", ".join(map(checkpoint_words, checkpoints))),
        *(("warning", told) for told in run.state.warnings),
        *(("notice", notice) for notice in run.state.notices),
        ("trouble", run.trouble or ""),
        ("error", "" if run.state.error is None else run.state.error.message),
        ("to do", advice),
    ]
    return [title, *aligned(pairs, width)]


def checkpoint_words(checkpoint: Checkpoint) -> str:
    """Name a checkpoint, its step, and whether it is kept for good."""
    pinned = ", pinned" if checkpoint.pinned else ""
    return f"{checkpoint.name} (step {checkpoint.step:,}{pinned})"


def _doing(run: Run) -> list[tuple[str, str]]:
    state = run.state
    words = state.status if state.phase is None else f"{state.status} · {phase_words(state)}"
    percent = done_percent(state)
    done = "" if percent is None else f"{bar(percent)} {percent_words(percent)}"
    return [
        ("status", " · ".join([words, *urgent_words(run)])),
        ("queue", place_words(state.queue)),
        ("progress", _joined(done, of_whole(state.step, state.total_steps, "step"))),
        ("epoch", of_whole(state.epoch, state.epochs)),
    ]


def of_whole(number: int | None, whole: int | None, name: str = "") -> str:
    """Write ``step 540 of 1,200``; nothing while the number is not known."""
    end = known(whole, lambda end: f"of {end:,}")
    return known(number, lambda value: f"{value:,} {end}".rstrip(), name)


def _joined(*parts: str) -> str:
    return "   ".join(part for part in parts if part)


def _figures(state: State) -> list[tuple[str, str]]:
    return [
        ("loss", _losses(state)),
        ("perplexity", _perplexities(state)),
        ("learning rate", known(state.learning_rate, lambda rate: f"{rate:.3g}")),
        ("speed", _joined(_speed(state), _seen(state))),
        ("time", _joined(_taken(state), known(state.eta_seconds, formats.time_left))),
    ]


def _speed(state: State) -> str:
    """Write ``6,120 tok/s, 61 % of this machine's peak``."""
    share = known(state.utilisation, lambda share: f"{100 * share:.0f} % of this machine's peak")
    return ", ".join(filter(None, (known(state.tokens_per_second, formats.speed), share)))


def _losses(state: State) -> str:
    return _joined(
        known(state.train_loss, formats.loss, "train"),
        known(state.val_loss, formats.loss, "validation"),
        known(state.best_val_loss, formats.loss, "best"),
    )


def _perplexities(state: State) -> str:
    return _joined(
        known(state.val_word_perplexity, lambda now: f"{formats.perplexity(now)} a word"),
        known(state.best_val_word_perplexity, formats.perplexity, "best"),
        known(state.val_bits_per_byte, lambda bits: f"{bits:.4g} bits a byte"),
    )


def _seen(state: State) -> str:
    return known(state.tokens, lambda tokens: f"{formats.count(tokens)} tokens{_so_far(state)}")


def _taken(state: State) -> str:
    return known(
        state.elapsed_seconds, lambda seconds: f"{formats.duration(seconds)}{_so_far(state)}"
    )


def _so_far(state: State) -> str:
    return " so far" if state.status in ACTIVE else ""


def _machine(state: State, gpus: Sequence[GpuReading]) -> list[tuple[str, str]]:
    device = f"{state.device} ({state.device_name})" if state.device_name else state.device or ""
    precision = f"precision {state.precision}" if state.precision else ""
    readings = [gpu_words(gpu) for gpu in gpus] or ["n/a"]
    return [
        ("device", _joined(device, precision, "compiled" if state.compiled else "")),
        *(("GPU", reading) for reading in readings),
        ("process", "" if state.process is None else f"pid {state.process.pid}"),
    ]


def gpu_words(gpu: GpuReading) -> str:
    """Tell what a GPU reports; what it does not is ``n/a``."""
    total = formats.size(gpu.memory_total_bytes)
    memory = known(gpu.memory_bytes, lambda used: f"{formats.size(used)} of {total}") or "n/a"
    readings = (
        f"{value:.0f} {unit}" if value is not None else "n/a"
        for value, unit in ((gpu.utilization, "%"), (gpu.temperature_c, "°C"), (gpu.power_w, "W"))
    )
    return _joined(f"{gpu.index} {gpu.name}", *readings, memory)


def _about(run: Run) -> list[tuple[str, str]]:
    state, notes = run.state, run.annotations
    flags = [word for word, on in (("pinned", notes.pinned), ("archived", notes.archived)) if on]
    return [
        ("data", state.dataset or ""),
        ("model", known(state.parameters, lambda n: f"{formats.count(n)} parameters")),
        ("tags", ", ".join([*notes.tags, *flags])),
        ("notes", notes.notes),
        (
            since_word(state),
            f"{formats.age(state.created_at)} ({formats.moment(state.created_at)})",
        ),
        ("folder", str(run.paths.folder)),
    ]


def gpu_lines(gpus: Sequence[GpuReading]) -> list[str]:
    """Return a line a GPU for below the table of runs."""
    return [faint("GPU ") + gpu_words(gpu) for gpu in gpus]
