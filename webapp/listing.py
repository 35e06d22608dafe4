"""Which runs there are, and which of them changed since the last look."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.runs import RunStore
from trainer.store.workspace import is_run_id
from webapp.deltas import SETTLED_SECONDS, UNREADABLE


class RunList:
    """Sees which runs appear, change and go, by one look at each run's folder.

    Records are replaced, never edited, so the time of the folder tells of them. Two kinds of runs
    may change without a new time and are read at each look: active ones, whose process may
    vanish, and those that changed just now, for a time stamp is not that fine.
    """

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._stamps: dict[str, int] | None = None
        self._restless: dict[str, dict[str, Any]] = {}

    def begin(self, since: datetime | None) -> set[str]:
        """Return the runs a new watcher must be told of: active ones, and changes since a time."""
        stamps = folder_stamps(self._store.workspace.runs_dir)
        with self._lock:
            if self._stamps is None:
                self._stamps = stamps
        active = {run.run_id for run in self._store.list(status="active", limit=1000).runs}
        oldest = time.time() if since is None else since.timestamp()
        return active | {run_id for run_id, stamp in stamps.items() if is_fresh(stamp, oldest)}

    def look(self) -> tuple[set[str], set[str]]:
        """Return the runs that changed or appeared since the last look, and those that went."""
        stamps = folder_stamps(self._store.workspace.runs_dir)
        with self._lock:
            before, self._stamps = self._stamps or {}, stamps
        removed = before.keys() - stamps.keys()
        for run_id in removed:
            self._restless.pop(run_id, None)
        touched = {run_id for run_id, stamp in stamps.items() if before.get(run_id) != stamp}
        moved = {run_id for run_id in list(self._restless) if self._has_moved(run_id)}
        return (touched - self._restless.keys()) | moved, set(removed)

    def _has_moved(self, run_id: str) -> bool:
        before = self._restless[run_id]
        return self.state(run_id) != before

    def state(self, run_id: str) -> dict[str, Any] | None:
        """Return a run as every surface shows it, or None when it cannot be read just now."""
        try:
            run = self._store.get(run_id)
        except UNREADABLE:
            return None
        state = run.as_dict()
        stamp = (self._stamps or {}).get(run_id, 0)
        if run.active or is_fresh(stamp, time.time()):
            self._restless[run_id] = state
        else:
            self._restless.pop(run_id, None)
        return state


def is_fresh(stamp: int, moment: float) -> bool:
    """Say whether a folder changed after a moment, or so shortly before that nobody can tell."""
    return stamp / 1e9 > moment - SETTLED_SECONDS


def folder_stamps(runs_dir: Path) -> dict[str, int]:
    """Return when each run's folder last changed, in nanoseconds.

    Raises:
        OSError: the runs cannot be listed.
    """
    stamps = {}
    try:
        with os.scandir(runs_dir) as entries:
            for entry in entries:
                if is_run_id(entry.name):
                    with contextlib.suppress(FileNotFoundError):  # Deleted since it was listed.
                        stamps[entry.name] = entry.stat().st_mtime_ns
    except FileNotFoundError:
        return {}
    return stamps
