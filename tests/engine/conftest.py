"""Engine tests compute very little at a time: one thread is faster than waking several."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.conftest import MakeRun
from tests.engine.bench import Bench
from tests.texts import write_text
from trainer.runs import RunStore


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bench(store: RunStore, make_run: MakeRun, tmp_path: Path) -> Bench:
    """Trains runs of one workspace on one text."""
    return Bench(store, make_run, write_text(tmp_path / "text.txt"))
