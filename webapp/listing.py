"""Which of the runs changed since the last look."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trainer.index import SETTLED_NS
from trainer.runs import Run, RunStore


class RunList:
    """Sees which runs appear, change and go, by comparing one look at all of them with the next.

    A run that stands still is the same object in both. Of active ones something may change that
    is no record, such as the time until a deadline: what is told of them is compared.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._runs: Mapping[str, Run] | None = None
        self._told: dict[str, dict[str, Any]] = {}

    def begin(self, since: datetime | None) -> set[str]:
        """Return the runs a new watcher must be told of: active ones, and changes since a time.

        Raises:
            OSError: the runs cannot be listed.
        """
        look = self._store.look()
        with self._lock:
            if self._runs is None:
                self._runs = look.runs
        oldest = time.time() if since is None else since.timestamp()
        first_ns = int(1e9 * oldest) - SETTLED_NS
        fresh = {run_id for run_id, changed_ns in look.changed_ns.items() if changed_ns > first_ns}
        return {run.run_id for run in look.runs.values() if run.active} | fresh & look.runs.keys()

    def look(self) -> tuple[set[str], set[str]]:
        """Return the runs that changed or appeared since the last look, and those that went.

        Raises:
            OSError: the runs cannot be listed.
        """
        runs = self._store.look().runs
        with self._lock:
            before, self._runs = self._runs or {}, runs
        if runs is before:  # Nothing has changed, and nothing is active.
            return set(), set()
        active = {run_id: run.as_dict() for run_id, run in runs.items() if run.active}
        told, self._told = self._told, active
        changed = {run_id for run_id, run in runs.items() if before.get(run_id) is not run}
        moved = {run_id for run_id, state in active.items() if told.get(run_id, state) != state}
        return changed | moved, set(before.keys() - runs.keys())

    def state(self, run_id: str) -> dict[str, Any] | None:
        """Return a run as every surface shows it, or None when it went meanwhile."""
        run = (self._runs or {}).get(run_id)
        return None if run is None else run.as_dict()
