"""Which checkpoints stay on the disk: the latest, the best, some of the epochs, and every pin."""

from __future__ import annotations

import time
from pathlib import Path

from trainer.engine import checkpoint
from trainer.store.checkpoints import expendable, info_path
from trainer.store.files import sync_folder

_FORGOTTEN_SECONDS = 3600.0
"""A temporary file as old as this belongs to a process that was killed."""


def retire(folder: Path, keep_last: int, keep_every: int | None) -> list[str]:
    """Remove the epoch checkpoints that need not be kept, and return their names.

    Nothing is removed before ``latest.pt`` is known to be whole on the disk.

    Raises:
        DamagedCheckpointError: it is not; everything is still there.
        OSError: the folder cannot be changed.
    """
    names = [f"epoch-{n}" for n in expendable(_epochs(folder), keep_last, keep_every)]
    if names:
        checkpoint.verify(folder / "latest.pt")
    for path in (folder / f"{name}.pt" for name in names):
        path.unlink(missing_ok=True)
        info_path(path).unlink(missing_ok=True)
    if names:
        sync_folder(folder)
    return names


def sweep(folder: Path) -> None:
    """Remove what killed processes left half made.

    Raises:
        OSError: the folder cannot be changed.
    """
    forgotten_before = time.time() - _FORGOTTEN_SECONDS
    for path in folder.glob(".*.part"):
        if path.stat().st_mtime < forgotten_before:
            path.unlink(missing_ok=True)


def _epochs(folder: Path) -> list[int]:
    """Return the epochs that a file is named after, be it a checkpoint or only its JSON file."""
    stems = {path.name.partition(".")[0] for path in folder.glob("epoch-*.pt*")}
    numbers = (stem.removeprefix("epoch-") for stem in stems)
    return sorted(int(number) for number in numbers if number.isascii() and number.isdecimal())
