"""Watching a run from outside: looks at its state, and the lines that its log gains."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.errors import NotFoundError, VanishedError
from trainer.runs import Run, RunStore
from trainer.store.checkpoints import left_behind
from trainer.store.records import State


def looks(
    store: RunStore,
    run_id: str,
    interval_seconds: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Run]:
    """Look at a run again and again; the last look is the one at which it has ended.

    Raises:
        VanishedError: the run was deleted or moved meanwhile.
    """
    while True:
        run = look_again(store, run_id)
        yield run
        if not run.active:
            return
        sleep(interval_seconds)


def look_again(store: RunStore, run_id: str) -> Run:
    """Look at a run that was there before.

    Raises:
        VanishedError: the run was deleted or moved meanwhile.
    """
    try:
        return store.inspect(run_id)
    except NotFoundError as error:
        paths = store.workspace.paths(run_id)
        message = f"Run {run_id} is gone: its folder {paths.folder} was deleted (or moved)."
        raise VanishedError(message, left_behind(paths)) from error


def milestone(state: State) -> tuple[object, ...]:
    """Return what changes when there is something new to tell in a plain line.

    That is the status, the phase, the place in the queue, an epoch, an evaluation, or each
    twentieth of the whole.
    """
    twentieth = 20 * state.step // state.total_steps if state.step and state.total_steps else 0
    return state.status, state.phase, state.queue, state.epoch, state.val_loss, twentieth


class LogTail:
    """Reads the whole lines that were added to a file since the last time."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        """Begin at the start of the file, or at its present end."""
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new_lines(self, *, final: bool = False) -> list[str]:
        """Return the new lines; ``final`` includes a last one that is not ended.

        A file that is not there yet has none, and one that was cut is read again from its start.
        """
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return []
        with file:
            size = file.seek(0, os.SEEK_END)
            file.seek(self._offset if self._offset <= size else 0)
            start = file.tell()
            content = file.read()
        whole = len(content) if final else content.rfind(b"\n") + 1
        self._offset = start + whole
        return content[:whole].decode("utf-8", errors="replace").splitlines()
