"""Waiting for space: what a full disk stops before training is begun again when there is some."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from trainer.errors import TrainerError
from trainer.store.recorder import Recorder
from trainer.store.space import is_no_space

T = TypeVar("T")

TROUBLE = "data"
LOOK_SECONDS = 0.5
RETRY_SECONDS = 30.0
"""After so long it is tried again all the same: a quota may have changed, or inodes be free."""

_MORE_BYTES = 1 << 20


def with_space(
    work: Callable[[], T],
    folder: Path,
    recorder: Recorder,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Do something that writes into a folder; while its disk is full, say so and wait.

    Raises:
        OSError, TrainerError: it failed for another reason.
    """
    while True:
        try:
            result = work()
        except (OSError, TrainerError) as error:
            if not is_no_space(error):
                raise
        else:
            recorder.trouble(TROUBLE, None)
            return result
        recorder.update(phase="waiting for space", progress=None)
        recorder.trouble(
            TROUBLE,
            f"No space left to prepare the text in {folder}. The run waits, and begins again "
            "with it when there is space.",
        )
        _wait_for_more(folder, sleep)


def _wait_for_more(folder: Path, sleep: Callable[[float], None]) -> None:
    free = _free_bytes(folder)
    retry_at = time.monotonic() + RETRY_SECONDS
    while time.monotonic() < retry_at and _free_bytes(folder) < free + _MORE_BYTES:
        sleep(LOOK_SECONDS)


def _free_bytes(folder: Path) -> int:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free
