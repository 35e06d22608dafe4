"""A configuration that was lost is read in a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.engine.bench import Bench
from trainer import worker
from trainer.engine.resuming import saved_configuration
from trainer.errors import CheckpointError
from trainer.store.recorder import Recorder


def test_a_resume_restores_the_configuration_from_the_checkpoint(bench: Bench) -> None:
    run = bench.run(stop_at=3)
    config = bench.store.config(run.run_id)
    run.paths.config.unlink()
    assignment: Any = SimpleNamespace(paths=run.paths, checkpoint="latest")
    recorder = Recorder(run.paths, run.state)
    assert worker._configuration(cast(worker.Assignment, assignment), recorder) == config
    recorder.close(status="stopped")
    assert bench.store.config(run.run_id) == config


def test_where_no_checkpoint_can_be_read_nothing_can_be_restored(bench: Bench) -> None:
    run = bench.new()
    nowhere = replace(run.paths, checkpoints=run.paths.folder / "none")
    with pytest.raises(CheckpointError, match=r"config\.toml is damaged"):
        saved_configuration(nowhere, "latest")
