"""What may be on a disk after a power cut, worked out from the operations that came before it.

POSIX promises the content of a file once that file was fsynced, and a name once its folder was.
Until then any of the changes of names may be missing, and unsynced content may be missing, cut
short, or be zeros.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.faults.file_operations import Operation

Files = Mapping[str, bytes]
"""The content of each file of a folder, by name."""

_MOST_PENDING = 8
"""With so many changes of names under way all subsets are tried, with more only beginnings."""

_LOST: dict[str, Callable[[bytes, bytes], bytes]] = {
    "there": lambda synced, written: written,
    "as it was": lambda synced, written: synced,
    "cut": lambda synced, written: written[: len(written) // 2],
    "zeros": lambda synced, written: bytes(len(written)),
}
"""What may have become of content that was not synced, from what was and what was written."""


class Disk:
    """A folder on a disk that remembers what is certain and what is under way."""

    def __init__(self, files: Files) -> None:
        self._synced: list[bytes] = list(files.values())
        self._written: list[bytes] = list(files.values())
        self._names: dict[str, int] = {name: number for number, name in enumerate(files)}
        self._certain = dict(self._names)
        self._pending: list[Operation] = []
        self._created: dict[int, int] = {}

    def apply(self, operation: Operation) -> None:
        """Take in one operation that has happened."""
        kind, name = operation.kind, operation.name
        if kind == "write":
            self._written[self._names[name]] += operation.content
        elif kind == "fsync":
            self._synced[self._names[name]] = self._written[self._names[name]]
        elif kind == "fsync folder":
            self._certain, self._pending, self._created = dict(self._names), [], {}
        elif kind in ("create", "replace", "link", "unlink"):
            self._change_names(operation)

    def _change_names(self, operation: Operation) -> None:
        if operation.kind == "create":
            self._created[len(self._pending)] = len(self._written)
            self._written.append(b"")
            self._synced.append(b"")
        self._pending.append(operation)
        self._names = self._renamed(range(len(self._pending)))

    def _renamed(self, kept: Sequence[int]) -> dict[str, int]:
        """Return the names after only these of the pending changes."""
        names = dict(self._certain)
        for number in kept:
            operation = self._pending[number]
            if operation.kind == "create":
                names[operation.name] = self._created[number]
            elif operation.name in names:
                inode = names[operation.name]
                if operation.kind in ("replace", "unlink"):
                    del names[operation.name]
                if operation.kind in ("replace", "link"):
                    names[operation.target] = inode
        return names

    def after_a_power_cut(self) -> Iterator[Files]:
        """Yield every folder that may be found afterwards; some come more than once."""
        for kept in self._subsets():
            names = self._renamed(kept)
            for lost in _LOST.values():
                yield {
                    name: self._written[inode]
                    if self._written[inode] == self._synced[inode]
                    else lost(self._synced[inode], self._written[inode])
                    for name, inode in names.items()
                }

    def _subsets(self) -> Iterator[Sequence[int]]:
        count = len(self._pending)
        if count > _MOST_PENDING:
            yield from (range(length) for length in range(count + 1))
            return
        for length in range(count + 1):
            yield from itertools.combinations(range(count), length)


def states(files: Files, operations: Sequence[Operation]) -> Iterator[Files]:
    """Yield each different folder that a power cut at any moment of the operations may leave."""
    disk, seen = Disk(files), set[int]()
    for operation in (None, *operations):
        if operation is not None:
            disk.apply(operation)
        for found in disk.after_a_power_cut():
            key = hash(frozenset(found.items()))
            if key not in seen:
                seen.add(key)
                yield found


def read(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def lay_out(folder: Path, files: Files) -> None:
    """Make a folder hold these files and nothing else."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in files:
            path.unlink()
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)  # It may be one file of several names.
        (folder / name).write_bytes(content)
