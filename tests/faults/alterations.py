"""Changes of the program inside a worker: a witness, and controls that a comparison must see."""

from __future__ import annotations

import math
import os
import pickle
import random
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch

from tests.faults.victim import replace, wrap


def generators_watched() -> None:
    """Print at the end of training whether it has drawn from Python's or NumPy's generator."""
    before: list[Any] = []

    def state() -> tuple[Any, bytes]:
        return random.getstate(), pickle.dumps(np.random.get_state())

    def tell(*_: object) -> None:
        untouched = state() == before[0]
        os.write(1, f"generators untouched: {untouched}\n".encode())

    wrap("trainer.engine.loop:train", before=lambda *_: before.append(state()), after=tell)


def deterministic() -> None:
    """Let a GPU use only algorithms that always give the same result."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)


# ---------------------------------------------------------------------- controls


class _TorchThatIsNotSeeded(ModuleType):
    """The module ``torch``, but for its seeding."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def manual_seed(self, seed: int) -> torch.Generator:
        return torch.default_generator


def steps_not_seeded() -> None:
    """Leave out that each step seeds torch's generator."""
    from trainer.engine import step

    vars(step)["torch"] = _TorchThatIsNotSeeded("torch")


def one_momentum_forgotten() -> None:
    """Restore all of a checkpoint but for one buffer of the optimizer."""

    def forget(_saved: object, _model: object, optimizers: Any, *_: object) -> None:
        states = (state for part in optimizers.parts for state in part.state.values())
        buffers = (value for state in states for value in state.values())
        next(b for b in buffers if isinstance(b, torch.Tensor) and b.ndim == 2).zero_()

    wrap("trainer.engine.setup:restore", after=forget)


def data_one_step_further() -> None:
    """Go on with the batches of the following step."""

    def moved(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        return lambda self, first, last: original(self, first + 1, last + 1)

    replace("trainer.engine.dataloader:TrainingBatches.iterate", moved)


# ---------------------------------------------------------------------- trouble in training


def numbers_lost_once() -> None:
    """From step 17 on no loss is a number, until training has gone back once."""

    def spoiling(original: Callable[..., Any]) -> Callable[..., Any]:
        def gradients(job: Any, trainee: Any, step: int, micro_batches: Any) -> Any:
            loss = original(job, trainee, step, micro_batches)
            lost = step >= 16 and trainee.standing.setback is None
            return loss * math.nan if lost else loss

        return gradients

    replace("trainer.engine.step:_gradients", spoiling)
