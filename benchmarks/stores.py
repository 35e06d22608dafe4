"""Large workspaces of real files, made quickly: ``python -m benchmarks.stores DIR --runs 10000``.

Nothing in them is particular to a benchmark: records are encoded from the store's own structures,
databases are written by the store's own writer, in large batches. What many runs can share (the
metrics of small runs, checkpoints) is written once and linked, for nobody writes to a run that has
ended. Active runs need a process, so there are none here; those whose process was killed say that
they are running, as real ones do.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from trainer import config as configuration
from trainer.config import Config
from trainer.store.checkpoints import Checkpoint, info_path
from trainer.store.metrics import MetricsWriter
from trainer.store.records import (
    Annotations,
    ErrorRecord,
    Meta,
    ProcessRecord,
    State,
    Status,
    written_time,
)
from trainer.store.workspace import RunPaths, Workspace

ROWS_A_WRITE = 50_000
SMALL_RUN_STEPS = 240
SHAPES = 12
"""So many different small runs are written; all others are like one of them."""

SPIKE_LOSS = 11.5
TOKENS_A_STEP = 4096
STEP_SECONDS = 0.4
_READING_EVERY_STEPS = 5
_EVALUATIONS = 400
_FIRST_MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
_GONE = ProcessRecord(pid=4_000_000, boot_id="a boot before this one", start_ticks=1)

_STATUSES: tuple[tuple[Status, int], ...] = (
    ("completed", 60),
    ("stopped", 15),
    ("failed", 13),
    ("running", 12),  # Its process is gone: it is interrupted.
)
_WORDS = (
    ("baseline", "wide", "deep", "warm", "cold", "Übung", "long-context", "dropout", "ablation"),
    ("muon", "adamw", "cosine", "wsd", "bf16", "wikitext", "python-docs", "☃"),
)
_TAGS = ("baseline", "paper", "sweep-a", "sweep-b", "keep", "gpu", "cpu", "to look at")
_TEXTS = ("wikitext-2", "wikitext-103", "python-docs")
_ERRORS = (
    ErrorRecord(kind="memory", message="There was not enough memory: 12 GiB.", hint="Lower it."),
    ErrorRecord(
        kind="training", message="The loss is not a finite number.", hint="Lower the rate."
    ),
)


# ---------------------------------------------------------------------- curves


@dataclass(frozen=True)
class Curve:
    """A loss that falls as a power law, with noise and, now and then, a spike of one step."""

    steps: int
    seed: int

    @property
    def spikes(self) -> frozenset[int]:
        """The steps whose loss is :data:`SPIKE_LOSS`."""
        chosen = random.Random(self.seed)
        return frozenset(chosen.randint(1, self.steps) for _ in range(3))

    def loss(self, step: int) -> float:
        """Return the loss at a step, without noise, in nats a token."""
        floor = 2.6 + 0.05 * (self.seed % SHAPES)
        return floor + 6.4 * math.pow(1 + 400 * step / self.steps, -0.42)

    def points(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a row of ``points`` for each step."""
        noise, spikes = random.Random(self.seed), self.spikes
        for step in range(1, self.steps + 1):
            loss = self.loss(step) + noise.gauss(0.0, 0.06)
            progress = step / self.steps
            yield (
                "points",
                {
                    **place(step, self.steps),
                    "train_loss": SPIKE_LOSS if step in spikes else loss,
                    "learning_rate": 6e-3 * min(50 * progress, 1.0, 2 - 2 * progress),
                    "grad_norm": abs(noise.gauss(0.5, 0.08)),
                    "tokens_per_second": noise.gauss(TOKENS_A_STEP / STEP_SECONDS, 150.0),
                },
            )

    def evaluations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield a row of ``evaluations``, and a sample, every so often."""
        for step in range(self._stride, self.steps + 1, self._stride):
            loss = self.loss(step) + 0.08
            yield (
                "evaluations",
                {**place(step, self.steps), "seconds": 4.0, **_validation(loss)},
            )
            yield (
                "samples",
                {"step": step, "at": at(step), "prompt": "The", "text": f" model of step {step}"},
            )

    @property
    def _stride(self) -> int:
        return max(1, self.steps // _EVALUATIONS)

    def readings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield rows of ``system``, as often as the worker reads the machine."""
        noise = random.Random(self.seed)
        for step in range(1, self.steps + 1, _READING_EVERY_STEPS):
            yield (
                "system",
                {
                    "at": at(step),
                    "elapsed_seconds": step * STEP_SECONDS,
                    "cpu_percent": noise.uniform(85, 100),
                    "ram_bytes": int(noise.uniform(5e9, 6e9)),
                    "process_ram_bytes": int(noise.uniform(9e8, 1e9)),
                },
            )

    def happenings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the process that trained, and what was told."""
        whole = {"from_step": 0, "to_step": self.steps, "ended": "completed"}
        yield (
            "sittings",
            {"id": 1, "pid": 1, "started_at": at(0), "ended_at": at(self.steps)} | whole,
        )
        for step in range(self._stride, self.steps + 1, self._stride):
            words = f"Saved latest.pt at step {step:,} (1.0 MiB)."
            told = {"kind": "saved", "level": "info", "message": words}
            yield "events", {"at": at(step), "step": step} | told


def place(step: int, steps: int) -> dict[str, Any]:
    """Return a step on all four axes; a run has three epochs."""
    return {
        "step": step,
        "epoch": 3 * step / steps,
        "tokens": step * TOKENS_A_STEP,
        "elapsed_seconds": step * STEP_SECONDS,
    }


def at(step: int) -> str:
    """Return when a step was done."""
    return written_time(_FIRST_MOMENT + timedelta(seconds=step * STEP_SECONDS))


def _validation(loss: float) -> dict[str, float]:
    """Return the figures of an evaluation for a loss in nats a token."""
    return {
        "val_loss": loss,
        "val_word_perplexity": math.exp(1.2 * loss),
        "val_bits_per_byte": 0.36 * loss,
    }


def write_metrics(path: Path, curve: Curve) -> None:
    """Write the whole database of a run that went to its end."""
    writer = MetricsWriter(path)
    for rows in (curve.points(), curve.evaluations(), curve.readings(), curve.happenings()):
        for batch in _batches(rows):
            writer.write(batch)
    writer.close()


def _batches(rows: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[list[Any]]:
    while batch := list(islice(rows, ROWS_A_WRITE)):
        yield batch


# ---------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Plan:
    """What one run is like; everything follows from its number."""

    number: int
    curve: Curve
    title: str | None = None

    @property
    def created_at(self) -> datetime:
        return _FIRST_MOMENT + timedelta(minutes=97 * self.number)

    @property
    def run_id(self) -> str:
        return f"{self.created_at:%Y%m%d-%H%M%S}-{self.number % 10_000:04d}"

    @property
    def chance(self) -> random.Random:
        return random.Random(self.number)

    @property
    def status(self) -> Status:
        if self.title is not None:
            return "completed"
        statuses = [status for status, weight in _STATUSES for _ in range(weight)]
        return self.chance.choice(statuses)

    @property
    def damage(self) -> str | None:
        """The file that is cut short, in one run of two hundred."""
        kinds = ("state.json", "config.toml", "annotations.json", "metrics.sqlite3")
        return kinds[self.number // 200 % 4] if self.number % 200 == 199 else None


def make_runs(workspace: Workspace, count: int) -> list[str]:
    """Make small runs of every kind, and return their ids."""
    models = [_model(workspace, Curve(SMALL_RUN_STEPS, seed)) for seed in range(SHAPES)]
    plans = [Plan(n, Curve(SMALL_RUN_STEPS, n % SHAPES)) for n in range(count)]
    for plan in plans:
        _write_run(workspace, plan, models[plan.number % SHAPES], os.link)
    shutil.rmtree(models[0].parent)
    return [plan.run_id for plan in plans]


def make_long_runs(workspace: Workspace, points: int, count: int, first: int = 0) -> list[str]:
    """Make runs of many points, each with a database of its own, and return their ids."""
    model = _model(workspace, Curve(points, 1))
    plans = [Plan(first + n, Curve(points, 1), f"long {n + 1}") for n in range(count)]
    for plan in plans:
        _write_run(workspace, plan, model, shutil.copyfile)
    shutil.rmtree(model.parent)
    return [plan.run_id for plan in plans]


def _model(workspace: Workspace, curve: Curve) -> Path:
    """Write what several runs share into a folder of its own."""
    folder = workspace.home / ".models" / str(curve.seed)
    folder.mkdir(parents=True)
    write_metrics(folder / "metrics.sqlite3", curve)
    weights = folder / "latest.pt"
    weights.write_bytes(random.Random(curve.seed).randbytes(2048))
    loss = curve.loss(curve.steps) + 0.08
    known = Checkpoint(
        name="latest",
        step=curve.steps,
        epoch=3,
        val_loss=loss,
        val_word_perplexity=_validation(loss)["val_word_perplexity"],
        bytes=2048,
        saved_at=at(curve.steps),
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
    )
    facts = {k: v for k, v in msgspec.to_builtins(known).items() if k not in ("name", "pinned")}
    info_path(weights).write_bytes(msgspec.json.encode(facts))
    return folder


def _write_run(workspace: Workspace, plan: Plan, model: Path, give: Any) -> None:
    paths = workspace.paths(plan.run_id)
    paths.folder.mkdir(parents=True)
    config = _config(plan)
    _write(paths.meta, meta_of(plan))
    _write(paths.annotations, annotations_of(plan))
    _write(paths.state, state_of(plan, config))
    paths.config.write_text(configuration.to_toml(configuration.resolved(config)), "utf-8")
    paths.train_log.write_text(f"{at(0)} INFO The run is {plan.status}.\n", "utf-8")
    give(model / "metrics.sqlite3", paths.metrics)
    if plan.status != "failed":
        _give_checkpoints(paths, model)
    if plan.damage is not None:
        _cut_short(paths.folder / plan.damage)


def _write(path: Path, record: msgspec.Struct) -> None:
    # Not as the store does it, with a flush to the disk for each: nothing is lost if this ends.
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def _give_checkpoints(paths: RunPaths, model: Path) -> None:
    paths.checkpoints.mkdir(parents=True)
    weights = model / "latest.pt"
    for name in ("latest", "best"):
        os.link(weights, paths.checkpoint(name))
        os.link(info_path(weights), info_path(paths.checkpoint(name)))


def _cut_short(path: Path) -> None:
    """Leave the first half of a file, under its name alone."""
    half = path.read_bytes()
    path.unlink()
    path.write_bytes(half[: len(half) // 2])


def meta_of(plan: Plan) -> Meta:
    """Return the facts of a run."""
    return Meta(
        run_id=plan.run_id,
        created_at=written_time(plan.created_at),
        command=["llm-trainer", "train", "--config", "quickstart"],
        versions={"llm-trainer": "0.1.0", "python": "3.11.7", "torch": "2.13.0"},
        data={"requested": "wikitext-2", "used": "wikitext-2", "reason": None},
    )


def annotations_of(plan: Plan) -> Annotations:
    """Return what people say of a run: most have a name, some are archived, few are pinned."""
    chance = plan.chance
    words = "-".join(chance.choice(words) for words in _WORDS)
    named = plan.number % 7 != 0
    return Annotations(
        name=plan.title or (f"{words}-{plan.number}" if named else None),
        tags=sorted(chance.sample(_TAGS, chance.randint(0, 3))),
        notes="Looks like the one before." if plan.number % 11 == 0 else "",
        pinned=plan.number % 400 == 3,
        archived=plan.title is None and plan.number % 20 == 5,
    )


def state_of(plan: Plan, config: Config) -> State:
    """Return how a run stands; one that did not complete ended somewhere on its way."""
    curve, chance, status = plan.curve, plan.chance, plan.status
    step = curve.steps if status == "completed" else chance.randint(1, curve.steps)
    loss = curve.loss(step) + 0.08
    created = written_time(plan.created_at)
    state = State(
        run_id=plan.run_id,
        status=status,
        phase="training" if status == "running" else None,
        epoch=min(3, 1 + 3 * step // curve.steps),
        epochs=config.training.epochs,
        step=step,
        total_steps=curve.steps,
        steps_per_epoch=-(-curve.steps // 3),
        tokens=step * TOKENS_A_STEP,
        parameters=5_800_000,
        train_loss=curve.loss(step),
        best_val_loss=loss,
        best_val_word_perplexity=_validation(loss)["val_word_perplexity"],
        learning_rate=3e-3,
        tokens_per_second=TOKENS_A_STEP / STEP_SECONDS,
        elapsed_seconds=step * STEP_SECONDS,
        device="cpu",
        device_name="Some Processor",
        precision="off",
        dataset=config.data.dataset_name,
        process=_GONE if status == "running" else None,
        heartbeat_at=created,
        error=chance.choice(_ERRORS) if status == "failed" else None,
        created_at=created,
        updated_at=written_time(plan.created_at + timedelta(seconds=step * STEP_SECONDS)),
    )
    return msgspec.structs.replace(state, **_validation(loss))


def _config(plan: Plan) -> Config:
    chance = plan.chance
    values = {
        "data.dataset_name": chance.choice(_TEXTS),
        "model.preset": chance.choice(list(configuration.PRESET_SHAPES)),
        "training.learning_rate": chance.choice((1e-3, 3e-3, 6e-3)),
        "training.seed": plan.number,
    }
    return configuration.build(configuration.Layer("benchmark", values))


def make_store(home: Path, *, runs: int, points: int, count: int) -> Iterable[str]:
    """Make a workspace, and return the ids of its long runs."""
    workspace = Workspace(home)
    if runs:
        make_runs(workspace, runs)
    return make_long_runs(workspace, points, count, first=runs) if points else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the workspace that was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.stores", description=__doc__)
    parser.add_argument("home", type=Path, help="folder of the workspace; its runs are added to")
    parser.add_argument("--runs", type=int, default=0, help="small runs of every kind")
    parser.add_argument("--points", type=int, default=0, help="points of each long run")
    parser.add_argument("--count", type=int, default=1, help="how many long runs [1]")
    chosen = parser.parse_args(arguments)
    long = make_store(chosen.home, runs=chosen.runs, points=chosen.points, count=chosen.count)
    for run_id in long:
        print(run_id)  # noqa: T201


if __name__ == "__main__":
    main()
