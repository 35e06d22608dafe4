"""Whether the folder that a worker writes to is still where the run is looked for."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.store.workspace import RunPaths

_OPEN_FILES = Path("/proc/self/fd")


class Whereabouts:
    """A run's folder as its worker found it.

    The lock tells: when another file stands at its path, or none, the run that is seen there is
    no longer the one that this process owns.
    """

    def __init__(self, paths: RunPaths, lock_descriptor: int) -> None:
        self._paths = paths
        self._lock = os.fstat(lock_descriptor)
        self._folder = os.open(paths.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def is_as_found(self) -> bool:
        """Say whether the run is still in its place; an unreadable disk proves nothing."""
        return self.is_owned(self._paths.folder)

    def is_owned(self, folder: Path) -> bool:
        """Say whether the lock that lies in a folder is the one this process holds."""
        try:
            return os.path.samestat((folder / self._paths.lock.name).stat(), self._lock)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True

    def folder_now(self) -> Path | None:
        """Return where the folder is now, or None when it was deleted or nobody can tell."""
        try:
            path = (_OPEN_FILES / str(self._folder)).readlink()
            found = os.path.samestat(path.stat(), os.fstat(self._folder))
        except OSError:
            return None
        return path if found else None
