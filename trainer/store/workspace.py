"""The workspace: one folder that holds every run, checkpoint and token file."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from trainer.errors import NotFoundError

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def is_run_id(text: str) -> bool:
    """Say whether a text could be a run id: anything else never becomes a path."""
    return _RUN_ID.fullmatch(text) is not None


def new_run_id() -> str:
    """Make a run id whose alphabetical order is the order of creation, to a tenth of a ms."""
    at = datetime.now(UTC)
    return f"{at:%Y%m%d-%H%M%S}-{at.microsecond // 100:04d}"


@dataclass(frozen=True)
class RunPaths:
    """Every path that belongs to one run."""

    run_id: str
    folder: Path
    checkpoints: Path

    @property
    def meta(self) -> Path:
        return self.folder / "meta.json"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def annotations(self) -> Path:
        return self.folder / "annotations.json"

    @property
    def annotations_lock(self) -> Path:
        return self.folder / "annotations.lock"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.sqlite3"

    @property
    def trouble(self) -> Path:
        return self.folder / "trouble.json"

    @property
    def train_log(self) -> Path:
        return self.folder / "train.log"

    @property
    def worker_log(self) -> Path:
        return self.folder / "worker.log"

    @property
    def lock(self) -> Path:
        return self.folder / "run.lock"

    @property
    def stop_request(self) -> Path:
        return self.folder / "stop.json"

    @property
    def stop_reserve(self) -> Path:
        return self.folder / "stop.reserve"

    @property
    def start_request(self) -> Path:
        return self.folder / "start.json"

    @property
    def notified(self) -> Path:
        return self.folder / "notified.json"

    @property
    def notify_lock(self) -> Path:
        return self.folder / "notify.lock"

    def checkpoint(self, name: str) -> Path:
        """Return the file of ``latest``, ``best``, ``epoch-<n>`` or ``step-<n>``."""
        return self.checkpoints / f"{name}.pt"


class Workspace:
    """Knows where things are; touches no disk until asked."""

    def __init__(self, home: str | Path | None = None) -> None:
        chosen = home or os.environ.get("LLM_TRAINER_HOME") or "."
        self.home = Path(chosen).expanduser().resolve()

    @cached_property
    def runs_dir(self) -> Path:
        return self.home / "runs"

    @property
    def queue_dir(self) -> Path:
        return self.runs_dir / ".queue"

    @cached_property
    def checkpoints_dir(self) -> Path:
        return self.home / "checkpoints"

    @property
    def data_dir(self) -> Path:
        return self.home / "data"

    def paths(self, run_id: str) -> RunPaths:
        """Return the paths of a run, whether it exists or not.

        Raises:
            NotFoundError: the text cannot be a run id.
        """
        if not is_run_id(run_id):
            raise NotFoundError(f"'{run_id[:80]}' is not a run id.", "See 'llm-trainer status'.")
        return RunPaths(run_id, self.runs_dir / run_id, self.checkpoints_dir / run_id)

    def run_ids(self) -> list[str]:
        """List the runs there are, newest first."""
        try:
            with os.scandir(self.runs_dir) as entries:
                names = [e.name for e in entries if is_run_id(e.name) and e.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(names, reverse=True)

    def orphaned_ids(self) -> list[str]:
        """List the runs whose folder is gone while their checkpoints are left."""
        try:
            with os.scandir(self.checkpoints_dir) as entries:
                names = [e.name for e in entries if is_run_id(e.name) and e.is_dir()]
        except FileNotFoundError:
            return []
        return [name for name in names if not (self.runs_dir / name).exists()]
