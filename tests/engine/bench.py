"""Trains very small runs in this process, and reads what they leave behind."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from tests.conftest import MakeRun
from tests.texts import tiny_config
from trainer import config as configuration
from trainer.engine import checkpoint
from trainer.engine.loop import Outcome, train
from trainer.engine.trainee import Job
from trainer.runs import Run, RunStore
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder


class StopAtStep(StopFlag):
    """Asks for the end once a step is done, or never."""

    def __init__(self, recorder: Recorder, step: int | None) -> None:
        self._recorder, self._step = recorder, step
        self._abandon = False

    @property
    def requested(self) -> bool:  # type: ignore[override]
        return self._step is not None and (self._recorder.state.step or 0) >= self._step


@dataclass
class Bench:
    """Trains runs of one workspace on one text."""

    store: RunStore
    make_run: MakeRun
    text: Path

    def run(self, *pairs: str, **options: Any) -> Run:
        run = self.new(*pairs)
        self.train(run, **options)
        return self.store.get(run.run_id)

    def new(self, *pairs: str) -> Run:
        return self.make_run(config=tiny_config(self.text, *pairs), status="queued")

    def adopt_config(self, run: Run, values: dict[str, Any]) -> None:
        """Give a run the settings that an import tells."""
        config = configuration.build(configuration.Layer("import", values))
        run.paths.config.write_text(configuration.to_toml(config))

    def train(self, run: Run, *, stop_at: int | None = None, source: str | None = None) -> Outcome:
        recorder = Recorder(run.paths, msgspec.structs.replace(run.state, step=None))
        job = Job(
            config=self.store.config(run.run_id),
            paths=run.paths,
            data_dir=self.store.workspace.data_dir,
            recorder=recorder,
            stop=StopAtStep(recorder, stop_at),
            checkpoint=source,
        )
        status = "failed"
        try:
            status = outcome = train(job)
        finally:
            recorder.close(status=status, process=None, phase=None)
        return outcome

    def losses(self, run: Run) -> list[float]:
        """Return the loss of every step: each has exactly one."""
        return self.series(run, "train_loss")

    def series(self, run: Run, name: str) -> list[float]:
        with self.store.metrics(run.run_id) as reader:
            series = reader.series([name])["series"][name]
        assert series["step"] == list(range(1, len(series["step"]) + 1))
        values: list[float] = series["value"]
        return values

    def points(self, run: Run) -> list[tuple[Any, ...]]:
        """Return what a point says of its step, but for the time it took; a loss may be None."""
        columns = "step, tokens, train_loss, grad_norm, learning_rate"
        with contextlib.closing(sqlite3.connect(run.paths.metrics)) as connection:
            return connection.execute(f"SELECT {columns} FROM points ORDER BY step").fetchall()

    def events(self, run: Run, kind: str) -> list[dict[str, Any]]:
        with self.store.metrics(run.run_id) as reader:
            return [event for event in reader.events() if event["kind"] == kind]


def model_of(run: Run, name: str = "latest") -> dict[str, torch.Tensor]:
    model: dict[str, torch.Tensor] = checkpoint.load(run.paths.checkpoint(name))["model"]
    return model


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)
