"""A run being trained: what the worker hands over, and the parts that training moves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.config import Config
from trainer.engine import device
from trainer.engine.compilation import Compiled
from trainer.engine.dataloader import TrainingBatches
from trainer.engine.evaluation import Evaluation
from trainer.engine.model import GPT
from trainer.engine.optimizer import Optimizers
from trainer.engine.readback import Readback
from trainer.engine.saving import Saver
from trainer.engine.schedule import Segment, sequence_parts
from trainer.engine.timing import Costs, Plan, Speed
from trainer.engine.tokenization import TokenizedCorpus
from trainer.engine.utilisation import MatmulPeak, utilisation
from trainer.foresight.workload import flops_per_token
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder
from trainer.store.workspace import RunPaths


@dataclass(frozen=True)
class Job:
    """What the worker hands over: the run to train and the pens to write with.

    Attributes:
        queued_for: key of the device that the run has waited for; None: it has not waited.
        follow_device: called with key and name of the device that is taken; it returns when the
            run may use that one.
    """

    config: Config
    paths: RunPaths
    data_dir: Path
    recorder: Recorder
    stop: StopFlag
    checkpoint: str | None = None
    inherited_fds: Sequence[int] = ()
    queued_for: str | None = None
    follow_device: Callable[[str, str], None] = lambda key, name: None


@dataclass
class Standing:
    """How far training has come; saved with every checkpoint.

    ``skipped_steps`` counts in a row, since ``first_skipped_step``; ``scale_search_steps`` counts
    apart those in which the scaler of fp16 lowered its scale. ``sequences_at_once`` is set where
    memory was too short for a whole micro-batch. ``setback`` tells of the one time that training
    went back, which ``learning_rate_factor`` stays of. ``imported_from`` says where the first
    weights of an imported model came from.
    """

    step: int = 0
    tokens: int = 0
    elapsed_seconds: float = 0.0
    best_val_loss: float | None = None
    best_val_word_perplexity: float | None = None
    evaluation_due: bool = False
    skipped_steps: int = 0
    first_skipped_step: int | None = None
    scale_search_steps: int = 0
    sequences_at_once: int | None = None
    learning_rate_factor: float = 1.0
    setback: str | None = None
    imported_from: str | None = None


@dataclass(frozen=True)
class DoneStep:
    """What is known of a step at once; its figures are read back later.

    ``step`` counts from 1, ``tokens`` from the beginning of the run.
    """

    step: int
    tokens: int
    learning_rate: float


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
    readback: Readback[DoneStep]
    costs: Costs
    saver: Saver
    windows_at_once: int
    last_evaluation: Evaluation | None = None
    last_evaluated_step: int | None = None
    speed: Speed = field(default_factory=Speed)
    peak: MatmulPeak | None = None
    started_at: float = field(default_factory=time.monotonic)
    logged_at: float = 0.0
    timed_until: float = 0.0

    @property
    def sequences_at_once(self) -> int:
        """How many sequences go through the model together: a micro-batch, or a part of it."""
        batch_size = self.config.training.batch_size
        return min(self.standing.sequences_at_once or batch_size, batch_size)

    def sequence_parts(self, step: int) -> int:
        """Return into how many parts a step, counted from 0, cuts its sequences."""
        training = self.config.training
        return sequence_parts(step, self.segments, training.seq_length, training)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which matrix products use the chosen precision."""
        return device.autocast(self.device, self.precision)

    def utilisation(self, tokens_per_second: float | None) -> float | None:
        """Return the share of the device's measured peak that a pace makes use of."""
        model = self.model
        context = model.context // self.sequence_parts(max(0, self.standing.step - 1))
        flops = flops_per_token(model.shape, model.vocab_size, context)
        return utilisation(tokens_per_second, flops, self.peak)

    def elapsed_seconds(self) -> float:
        """Return the time this run has been worked on, over all its processes."""
        return self.standing.elapsed_seconds + time.monotonic() - self.started_at
