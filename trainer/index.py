"""What lists need of every run, remembered between looks: only what has changed is read again.

Records are replaced, never edited, so the change time of a run's folder (``st_ctime``, which
nobody can set back) tells of them. Two kinds of runs may change without a new one and are read at
every look: those that are active, for their process may vanish, and those that changed just now,
for a time stamp is not that fine. Files that somebody edits in place are seen by their own change
times: of the runs on the page that is asked for at once, of all others in turns.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.store.workspace import RunPaths, Workspace, is_run_id

if TYPE_CHECKING:
    from trainer.runs import Run

SETTLED_NS = 1_000_000_000
"""What changed this recently may change again under the same time stamp."""
RUNS_IN_TURN = 100
"""Of so many runs each look compares the files themselves."""

_LISTED = ("state.json", "annotations.json", "config.toml")


@dataclass(frozen=True)
class Look:
    """All runs at one moment, by run id, newest first.

    Attributes:
        runs: a run that has not changed since the look before is the same object.
        changed_ns: when each run's folder last changed.
    """

    runs: Mapping[str, Run]
    changed_ns: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A run as it was read; ``settled`` unless it may change without a new time of its folder."""

    run: Run
    changed_ns: int
    read_at_ns: int
    settled: bool


class RunIndex:
    """Remembers the runs there are in one workspace, about 4 KB of each; any thread may ask."""

    def __init__(self, workspace: Workspace, read: Callable[[str], Run | None]) -> None:
        """Make an empty index; it reads at the first look.

        Args:
            read: reads one run; None when it is gone.
        """
        self._workspace = workspace
        self._read = read
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._latest = Look({}, {})
        self._began_at = float("-inf")
        self._turn = 0

    def look(self) -> Look:
        """Return all runs as they stand now, or as another thread has found since it was asked.

        Raises:
            OSError: the runs cannot be listed.
        """
        asked_at = time.monotonic()
        with self._lock:
            if self._began_at < asked_at:
                self._began_at = time.monotonic()
                self._renew()
            return self._latest

    def look_closely(self, run_ids: Iterable[str]) -> Look | None:
        """Read again those of some runs whose files changed in place; None: there are none."""
        with self._lock:
            edited = [run_id for run_id in run_ids if self._is_edited(run_id)]
            if not edited:
                return None
            self._latest = Look(self._runs(), self._latest.changed_ns)
            return self._latest

    def _renew(self) -> None:
        stamps, known = folder_stamps(self._workspace, self._entries), self._entries
        edited = [run_id for run_id in self._next_in_turn() if self._is_edited(run_id)]
        stale = [
            run_id
            for run_id, changed_ns in stamps.items()
            if (entry := known.get(run_id)) is None
            or not entry.settled
            or entry.changed_ns != changed_ns
        ]
        if not (edited or stale) and len(stamps) == len(known):
            return
        for run_id in [*stale, *(known.keys() - stamps.keys())]:
            self._renew_entry(run_id, stamps.get(run_id))
        if any(run_id not in self._latest.runs for run_id in stale):
            self._entries = dict(sorted(known.items(), reverse=True))
        self._latest = Look(self._runs(), stamps)

    def _runs(self) -> dict[str, Run]:
        return {run_id: entry.run for run_id, entry in self._entries.items()}

    def _next_in_turn(self) -> list[str]:
        """Return the runs whose files are to be looked at this time."""
        first = self._turn if self._turn < len(self._entries) else 0
        self._turn = first + RUNS_IN_TURN
        return list(self._entries)[first : self._turn]

    def _renew_entry(self, run_id: str, changed_ns: int | None) -> None:
        """Read a run, or forget it when it is gone."""
        before = self._entries.get(run_id)
        entry = None if changed_ns is None else self._entry(run_id, changed_ns, before)
        if entry is None:
            self._entries.pop(run_id, None)
        else:
            self._entries[run_id] = entry

    def _entry(self, run_id: str, changed_ns: int, before: _Entry | None) -> _Entry | None:
        """Read a run; one that is as before stays the object that it was."""
        read_at_ns = time.time_ns()
        run = self._read(run_id)
        if run is None:
            return None
        if before is not None and before.run == run:
            run = before.run
        settled = not _is_restless(run) and abs(read_at_ns - changed_ns) > SETTLED_NS
        return _Entry(run, changed_ns, read_at_ns, settled)

    def _is_edited(self, run_id: str) -> bool:
        """Read a run again whose files changed since it was read; say whether it is another."""
        before = self._entries.get(run_id)
        if before is None or not before.settled:
            return False  # It is read at every look.
        if not _changed_since(before.run.paths, before.read_at_ns - SETTLED_NS):
            return False
        self._renew_entry(run_id, before.changed_ns)
        after = self._entries.get(run_id)
        return after is None or after.run is not before.run


def _is_restless(run: Run) -> bool:
    """Say whether a run may change while its folder stands still."""
    error = run.state.error
    return run.active or bool(run.damage) or (error is not None and error.kind == "store")


def _changed_since(paths: RunPaths, moment_ns: int) -> bool:
    """Say whether a file that a list reads, or the set of checkpoints, changed after a moment."""
    folder, checkpoints = os.fspath(paths.folder), os.fspath(paths.checkpoints)
    for path in (*(f"{folder}/{name}" for name in _LISTED), checkpoints):
        with contextlib.suppress(OSError):  # What went changed the folder.
            if os.stat(path).st_ctime_ns > moment_ns:
                return True
    return False


def folder_stamps(workspace: Workspace, known: Container[str] = ()) -> dict[str, int]:
    """Return when each run's folder last changed, in nanoseconds.

    Args:
        known: names that are run ids for sure; to look at ten thousand takes a while.

    Raises:
        OSError: the runs cannot be listed.
    """
    stamps: dict[str, int] = {}
    try:
        folder = os.open(workspace.runs_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return stamps
    try:
        for name in os.listdir(folder):
            if name in known or is_run_id(name):
                try:
                    stamps[name] = os.stat(name, dir_fd=folder).st_ctime_ns
                except FileNotFoundError:
                    continue  # Deleted since it was listed.
    finally:
        os.close(folder)
    return stamps
