"""Every operation on the files of one folder: counted, recorded, failed, or the last of a process.

Python's own functions are wrapped, so what the program does is seen as it happens, whoever does
it. Only what changes the folder counts; files elsewhere are left alone.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from unittest import mock


@dataclass(frozen=True)
class Operation:
    """What is done to a name of the folder; ``target`` is the other name of two, if there are.

    ``kind``: ``create``, ``write``, ``flush``, ``fsync``, ``close``, ``replace``, ``link``,
    ``unlink``, ``chmod``, ``mkdir`` or ``fsync folder``.
    """

    kind: str
    name: str
    target: str = ""
    content: bytes = b""


Watch = Callable[[Operation], None]


def _nothing(operation: Operation) -> None:
    return


@contextlib.contextmanager
def watching(folder: Path, *, before: Watch = _nothing, after: Watch = _nothing) -> Iterator[None]:
    """Have every operation on the files of a folder announced, before or after it happens.

    What ``before`` raises happens instead of the operation.
    """
    watcher = _Watcher(folder.resolve(), before, after)
    with contextlib.ExitStack() as stack:
        for name in ("open", "fsync", *_BY_NAME):
            wrapped = watcher.wrapped(name, getattr(os, name))
            stack.enter_context(mock.patch.object(os, name, wrapped))
        stack.enter_context(mock.patch.object(io, "open", watcher.opening(io.open)))
        yield


_BY_NAME = {
    "replace": "replace",
    "rename": "replace",
    "link": "link",
    "unlink": "unlink",
    "chmod": "chmod",
    "mkdir": "mkdir",
}


class _Watcher:
    def __init__(self, folder: Path, before: Watch, after: Watch) -> None:
        self._folder, self._before, self._after = folder, before, after

    def announced(self, operation: Operation, act: Callable[[], Any]) -> Any:
        self._before(operation)
        result = act()
        self._after(operation)
        return result

    def name_of(self, path: Any) -> str | None:
        """Return the name of a file of the folder, ``.`` for the folder, None for any other."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}").removesuffix(" (deleted)")
        resolved = Path(os.path.abspath(path))
        if resolved == self._folder:
            return "."
        return resolved.name if resolved.parent == self._folder else None

    def wrapped(self, function: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **named: Any) -> Any:
            name = self.name_of(path)
            operation = None if name is None else self._operation(function, name, arguments)
            if operation is None:
                return original(path, *arguments, **named)
            return self.announced(operation, lambda: original(path, *arguments, **named))

        return call

    def _operation(self, function: str, name: str, arguments: tuple[Any, ...]) -> Operation | None:
        if function == "fsync":
            return Operation("fsync folder" if name == "." else "fsync", name)
        if function == "open":
            return Operation("create", name) if arguments[0] & os.O_CREAT else None
        target = self.name_of(arguments[0]) if function in ("replace", "rename", "link") else None
        return Operation(_BY_NAME[function], name, target or "")

    def opening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            name = self.name_of(file) if set(mode) & set("wax+") else None
            if name is None:
                return original(file, mode, *arguments, **named)
            if isinstance(file, int):  # Its creation was announced when it got its number.
                return _Watched(original(file, mode, *arguments, **named), name, self)
            opened = self.announced(
                Operation("create", name), lambda: original(file, mode, *arguments, **named)
            )
            return _Watched(opened, name, self)

        return call


class _Watched:
    """A file opened for writing whose operations are announced."""

    def __init__(self, file: IO[bytes], name: str, watcher: _Watcher) -> None:
        self._file, self._name, self._watcher = file, name, watcher

    def write(self, data: Any) -> int:
        content = bytes(data)
        operation = Operation("write", self._name, content=content)
        return cast(int, self._watcher.announced(operation, lambda: self._file.write(content)))

    def flush(self) -> None:
        self._watcher.announced(Operation("flush", self._name), self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def tell(self) -> int:
        return self._file.tell()

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def operations_of(folder: Path, work: Callable[[], None]) -> list[Operation]:
    """Return what some work does to a folder."""
    done: list[Operation] = []
    with watching(folder, after=done.append):
        work()
    return done


def end_here(number: int) -> Watch:
    """End the process after so many operations, as a kill does: nothing is flushed or undone."""
    left = iter(range(number, 0, -1))

    def watch(_: Operation) -> None:
        if next(left) == 1:
            os._exit(0)

    return watch


def in_a_fork(work: Callable[[], None]) -> int:
    """Do some work in a process of its own and return its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
