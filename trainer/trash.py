"""Deleted runs: set aside for a day in ``runs/.trash`` and ``checkpoints/.trash``, then removed.

A deleted run can be brought back for :data:`UNDO_SECONDS`. After that it goes for good when the
next run is deleted or the dashboard is started, whichever comes first; nothing else removes it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainer.annotating import read_annotations
from trainer.errors import NotFoundError, StoreError
from trainer.store.files import read_record, sync_folder
from trainer.store.records import ACTIVE, State, Status, written_time
from trainer.store.workspace import RunPaths, Workspace, is_run_id

UNDO_SECONDS = 24 * 3600.0
"""How long a deleted run can be brought back."""

_FOLDER = ".trash"
_REMOVING = ".removing-"
"""Begins the name of what can no longer be brought back: half of a run is none."""


@dataclass(frozen=True)
class DeletedRun:
    """A run that can still be brought back.

    Attributes:
        title: its name, or else its run id.
        status: how it had ended; None where only checkpoints were left of it.
        deleted_at: when, as ISO 8601 in UTC.
        kept_until: from then on it may be removed for good.
        bytes: the disk that its removal gives back.
    """

    run_id: str
    title: str
    status: Status | None
    deleted_at: str
    kept_until: str
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """What programs are told of it."""
        return asdict(self)


def trashed(paths: RunPaths) -> RunPaths:
    """Return where a run's folders are while it is deleted."""
    return RunPaths(paths.run_id, _aside(paths.folder), _aside(paths.checkpoints))


def _aside(folder: Path) -> Path:
    return folder.parent / _FOLDER / folder.name


def deleted_runs(workspace: Workspace) -> list[DeletedRun]:
    """List the runs that can be brought back, the one that was deleted last first."""
    ids = {entry.name for entry in _entries(workspace) if is_run_id(entry.name)}
    found = [_described(trashed(workspace.paths(run_id))) for run_id in ids]
    return sorted(found, key=lambda run: (run.deleted_at, run.run_id), reverse=True)


def _entries(workspace: Workspace) -> Iterator[Path]:
    for parent in (workspace.checkpoints_dir, workspace.runs_dir):
        yield from (parent / _FOLDER).glob("*")


def _described(paths: RunPaths) -> DeletedRun:
    moved_at = _moved_at(paths)
    return DeletedRun(
        run_id=paths.run_id,
        title=read_annotations(paths).name or paths.run_id,
        status=_status(paths),
        deleted_at=_written(moved_at),
        kept_until=_written(moved_at + UNDO_SECONDS),
        bytes=_bytes_of(paths.folder) + _bytes_of(paths.checkpoints),
    )


def _written(seconds: float) -> str:
    return written_time(datetime.fromtimestamp(seconds, UTC))


def _moved_at(paths: RunPaths) -> float:
    for folder in (paths.folder, paths.checkpoints):
        if folder.exists():
            return folder.stat().st_mtime
    return time.time()  # Brought back, or removed, since it was listed.


def _status(paths: RunPaths) -> Status | None:
    try:
        status = read_record(paths.state, State).status
    except (OSError, StoreError):
        return None
    return "interrupted" if status in ACTIVE else status  # Only what is not active is deleted.


def _bytes_of(folder: Path) -> int:
    """Add up the files of a folder; those that share their blocks count once."""
    seen: dict[int, int] = {}
    for path in folder.rglob("*"):
        found = path.lstat()
        seen[found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def put_aside(folder: Path) -> None:
    """Move a folder into the trash.

    Raises:
        OSError: it cannot be moved.
    """
    _move(folder, _aside(folder))


def bring_back(folder: Path) -> None:
    """Move a folder out of the trash to where it was.

    Raises:
        OSError: it cannot be moved.
    """
    _move(_aside(folder), folder)


def _move(source: Path, target: Path) -> None:
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    os.utime(target)  # From now counts the time until it may be removed for good.
    sync_folder(target.parent)
    sync_folder(source.parent)


def remove_for_good(workspace: Workspace, run_id: str) -> None:
    """Remove a deleted run at once.

    Raises:
        NotFoundError: it is not in the trash.
        OSError: it cannot be removed.
    """
    paths = trashed(workspace.paths(run_id))
    there = [folder for folder in (paths.checkpoints, paths.folder) if folder.is_dir()]
    if not there:
        raise no_deleted_run(run_id)
    for folder in there:
        _remove(folder)


def no_deleted_run(run_id: str) -> NotFoundError:
    """Return the error for a run that is not in the trash."""
    return NotFoundError(
        f"There is no deleted run '{run_id}'.", "See 'llm-trainer delete --list' for those."
    )


def _remove(folder: Path) -> None:
    doomed = folder.with_name(f"{_REMOVING}{folder.name}")
    if doomed.exists():
        shutil.rmtree(doomed)
    folder.rename(doomed)
    shutil.rmtree(doomed)


def empty_trash(workspace: Workspace, older_than_seconds: float = 0.0) -> int:
    """Remove deleted runs for good; return how many.

    Raises:
        OSError: one cannot be removed.
    """
    oldest, removed = time.time() - older_than_seconds, set()
    for entry in _entries(workspace):
        if entry.name.startswith(_REMOVING):  # What ended before it was done.
            shutil.rmtree(entry)
        elif is_run_id(entry.name) and entry.stat().st_mtime <= oldest:
            _remove(entry)
            removed.add(entry.name)
    return len(removed)
