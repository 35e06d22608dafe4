"""This program's own parts, set up in a scratch folder as its worker sets them up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from trainer.config import Config
from trainer.engine.setup import set_up
from trainer.engine.step import cut, take_step
from trainer.engine.trainee import Job, Trainee
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder
from trainer.store.records import State, now
from trainer.store.workspace import RunPaths


@contextmanager
def scratch_run() -> Iterator[RunPaths]:
    """Give the paths of a run whose folder is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield RunPaths("benchmark", Path(folder), Path(folder) / "checkpoints")


def fresh_state() -> State:
    """Return the state of a run that has just been made."""
    return State(run_id="benchmark", created_at=now(), updated_at=now())


@contextmanager
def a_run(config: Config, data_dir: Path) -> Iterator[tuple[Job, Trainee]]:
    """Set up a run of a configuration."""
    with scratch_run() as paths:
        recorder = Recorder(paths, fresh_state())
        try:
            stop = StopFlag(paths.stop_request)
            job = Job(config, paths, data_dir.absolute(), recorder, stop)
            yield job, set_up(job, time.monotonic())
        finally:
            recorder.close()


class ProductSteps:
    """The real training step of a run, time after time, at most to the end of its plan."""

    def __init__(self, job: Job, trainee: Trainee) -> None:
        self._job, self._trainee = job, trainee
        self._step = 0
        self._batches = trainee.batches.iterate(0, trainee.plan.total_steps)

    def warm_up(self) -> None:
        """Compile each shape of a step, where the run is compiled; the weights do not move."""
        trainee = self._trainee
        for parts in {trainee.sequence_parts(step) for step in range(trainee.plan.total_steps)}:
            batch = cut(trainee.batches.batch(0, 0), parts)
            inputs, targets = (part.to(trainee.device) for part in batch)
            with trainee.autocast():
                loss = trainee.compiled.loss(inputs, targets)
            torch.autograd.backward(loss)
            trainee.optimizers.zero_grad()

    def take(self) -> int:
        """Train one step, wait for its loss, and return how many tokens it was."""
        take_step(self._job, self._trainee, self._step, next(self._batches)).tolist()
        self._step += 1
        return self._trainee.batches.tokens_per_step
