"""What earlier runs of a workspace have shown: how many steps, how fast, with how much memory."""

from __future__ import annotations

from dataclasses import dataclass

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import NotFoundError, StoreError
from trainer.foresight import workload
from trainer.runs import Run, RunStore

MOST_LOOKED_AT = 200
"""Newest runs that are looked at: older ones ran on an older machine, if not an older version."""


@dataclass(frozen=True)
class Precedent:
    """One earlier run, as far as it tells something about another.

    Attributes:
        seconds: that it was worked on, all included.
        flops_per_token: operations of one training token.
    """

    run_id: str
    title: str
    config: Config
    steps_per_epoch: int | None
    steps: int
    tokens: int
    seconds: float
    device: str | None
    device_name: str | None

    @property
    def flops_per_token(self) -> float:
        return flops_of(self.config)


def flops_of(config: Config) -> float:
    """Return the operations of one training token of a configuration."""
    shape = configuration.model_shape(config.model)
    return workload.flops_per_token(shape, config.data.vocab_size, config.training.seq_length)


def precedent_of(run: Run, config: Config) -> Precedent:
    """Return what a run has shown."""
    state = run.state
    return Precedent(
        run_id=run.run_id,
        title=run.title,
        config=configuration.resolved(config),
        steps_per_epoch=state.steps_per_epoch,
        steps=state.step or 0,
        tokens=state.tokens or 0,
        seconds=state.elapsed_seconds or 0.0,
        device=state.device,
        device_name=state.device_name,
    )


class Precedents:
    """The newest runs of a workspace; a run that has not changed is read once."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._known: dict[str, tuple[str, Precedent]] = {}

    def newest(self) -> list[Precedent]:
        """Return the runs that got as far as to know their steps, the newest first."""
        runs = self._store.list(sort="-created", limit=MOST_LOOKED_AT).runs
        found = {run.run_id: self._read(run) for run in runs if run.state.steps_per_epoch}
        self._known = {run_id: known for run_id, known in found.items() if known is not None}
        return [precedent for _, precedent in self._known.values()]

    def _read(self, run: Run) -> tuple[str, Precedent] | None:
        known, stamp = self._known.get(run.run_id), run.state.updated_at
        if known is not None and known[0] == stamp:
            return known
        try:
            return stamp, precedent_of(run, self._store.config(run.run_id))
        except (StoreError, NotFoundError):
            return None  # Its page tells of the damage; here it only cannot help.

    def peak_memory_bytes(self, run_id: str) -> int | None:
        """Return the most memory that a run was seen to take: of the GPU, else of its processes."""
        try:
            with self._store.metrics(run_id) as reader:
                readings = reader.system(limit=500)
        except (StoreError, NotFoundError):
            return None
        return max((_memory(reading) for reading in readings), default=0) or None


def _memory(reading: dict[str, int | None]) -> int:
    return reading["gpu_memory_bytes"] or reading["process_ram_bytes"] or 0
