"""What a worker does when its run folder is deleted or moved away under it: it ends itself.

There is nothing left to train for, and whatever it still wrote would be half a folder in the
place of the old one. A folder that was moved is told what happened, so that whoever finds it
there reads the cause.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import psutil

from trainer.store.checkpoints import any_checkpoint, left_behind
from trainer.store.recorder import Recorder
from trainer.store.records import ErrorRecord
from trainer.store.whereabouts import Whereabouts
from trainer.store.workspace import RunPaths, Workspace

log = logging.getLogger(__name__)

GONE_STATUS = 3
"""Exit status of a worker whose run is no longer there."""


def leave_at_once(status: int) -> None:
    """End this process and all it has started, whatever their threads do."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    os._exit(status)


class Guard:
    """Looks after the run folder; for the recorder's thread, twice a second."""

    def __init__(
        self,
        paths: RunPaths,
        lock_descriptor: int,
        leave: Callable[[int], object] = leave_at_once,
    ) -> None:
        """Take note of the folder.

        Args:
            leave: ends this process at once with an exit status.
        """
        self._paths = paths
        self._whereabouts = Whereabouts(paths, lock_descriptor)
        self._leave = leave

    def look(self, recorder: Recorder) -> None:
        """Leave when the run is no longer in its place."""
        if self._whereabouts.is_as_found():
            return
        folder = self._whereabouts.folder_now()
        error = vanished(self._paths, folder)
        log.error("%s %s", error.message, error.hint)
        if folder is not None and self._whereabouts.is_owned(folder):
            self._write_end(recorder, folder, error)
        self._leave(GONE_STATUS)

    def _write_end(self, recorder: Recorder, folder: Path, error: ErrorRecord) -> None:
        recorder.end_elsewhere(
            _paths_at(folder, self._paths.run_id),
            status="interrupted",
            error=error,
            **dict.fromkeys(("phase", "progress", "process", "eta_seconds", "queue")),
        )


def vanished(paths: RunPaths, folder: Path | None) -> ErrorRecord:
    """Say what became of a run folder, and what can be done.

    Args:
        paths: where it was.
        folder: where it is now, or None when it was deleted.
    """
    if folder is None:
        message = f"The run folder {paths.folder} was deleted while it trained: the process ended."
        hint = left_behind(paths) or "It had no checkpoints."
    elif folder == paths.folder:
        message = f"{paths.lock} was removed or replaced while the run trained: the process ended."
        hint = "Resume the run; run.lock says who owns it and must stay where it is."
    else:
        message = (
            f"The run folder was moved from {paths.folder} to {folder} while it trained: "
            "the process ended."
        )
        hint = _after_move(paths, _paths_at(folder, paths.run_id))
    return ErrorRecord(kind="interrupted", message=message, hint=hint)


def _after_move(before: RunPaths, now: RunPaths) -> str:
    home = now.checkpoints.parent.parent
    back = f"To resume it, move it back to {before.folder}"
    if now.folder != Workspace(home).paths(now.run_id).folder:
        return f"{back}."
    if any_checkpoint(now.checkpoints):
        return f"Resume it there: llm-trainer resume --home {home} --run-id {now.run_id}."
    return f"{back}, or bring its checkpoints along to {now.checkpoints}."


def _paths_at(folder: Path, run_id: str) -> RunPaths:
    return RunPaths(run_id, folder, folder.parent.parent / "checkpoints" / run_id)
