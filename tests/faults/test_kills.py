"""A worker killed at a random moment is found again and ends as if it had never been killed."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.texts import tiny_config, write_text
from trainer.config import Config
from trainer.engine import checkpoint
from trainer.runs import Run, RunStore

SETTINGS = ("training.max_steps=200", "checkpoint.every_steps=2", "model.dropout=0.1")


def finish(store: RunStore, run_id: str) -> Run:
    run = store.wait(run_id, lambda run: not run.active, patience_seconds=120)
    assert not run.active
    return run


def past(step: int) -> Callable[[Run], bool]:
    return lambda run: not run.active or (run.state.step or 0) >= step


def losses(store: RunStore, run_id: str) -> list[float]:
    with store.metrics(run_id) as reader:
        series = reader.series(["train_loss"], points=20_000)["series"]["train_loss"]
    assert series["step"] == list(range(1, 201))
    values: list[float] = series["value"]
    return values


def final_weights(store: RunStore, run_id: str) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = checkpoint.load(store.checkpoint_path(run_id))["model"]
    return weights


def kill_until_done(store: RunStore, config: Config, chance: random.Random, kills: int) -> str:
    """Train with up to so many kills at random moments of the steps and saves."""
    run_id = store.create(config)
    for _ in range(kills):
        first = store.get(run_id).state.step or 0
        wanted = first + chance.randrange(3, 12)
        run = store.wait(run_id, past(wanted), 120)
        if not run.active or run.state.process is None:
            break
        time.sleep(chance.random() * 0.05)  # The moment itself is what is drawn at random.
        os.kill(run.state.process.pid, signal.SIGKILL)
        store.wait(run_id, lambda run: not run.active, 30)
        assert store.get(run_id).status in ("interrupted", "completed")
        checkpoint.load(store.checkpoint_path(run_id))
        check = sqlite3.connect(run.paths.metrics).execute("PRAGMA integrity_check")
        assert check.fetchone() == ("ok",)
        if store.get(run_id).status == "completed":
            break
        store.resume(run_id)
    return run_id


def check_kills(store: RunStore, text: Path, seed: int, kills: int) -> None:
    config = tiny_config(text, *SETTINGS)
    whole = store.create(config)
    assert finish(store, whole).status == "completed"
    killed = kill_until_done(store, config, random.Random(seed), kills)
    assert finish(store, killed).status == "completed"
    assert losses(store, killed) == losses(store, whole)
    expected = final_weights(store, whole)
    for name, weight in final_weights(store, killed).items():
        assert torch.equal(weight, expected[name]), name


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return write_text(tmp_path / "text.txt")


def test_a_run_killed_twice_ends_as_the_run_that_was_not(store: RunStore, text: Path) -> None:
    check_kills(store, text, seed=1, kills=2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 7))
def test_a_run_killed_ten_times_ends_as_the_run_that_was_not(
    store: RunStore, text: Path, seed: int
) -> None:
    check_kills(store, text, seed, kills=10)
