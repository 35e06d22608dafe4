"""Files that are replaced, never edited: a reader sees the old whole or the new whole."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trainer.errors import DamagedError, NewerStoreError, StoreError
from trainer.store.records import MIGRATIONS, SCHEMA

T = TypeVar("T")

_DAMAGED_HINT = "Restore it from a copy, or delete the run."


def replace_file(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write ``content`` to ``path`` so that a crash at any point leaves one whole version.

    Args:
        content: all of it, or its parts as they are made.

    Raises:
        OSError: the folder is gone, read-only or full; the old file is untouched.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in [content] if isinstance(content, bytes) else content:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Replace ``path`` with a record as JSON that people can read."""
    replace_file(path, msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")


def read_record(path: Path, kind: type[T]) -> T:
    """Read a JSON record; one of an older schema is converted in memory, never on disk.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        DamagedError: it does not hold such a record.
        NewerStoreError: it was written by a newer version.
        StoreError: it may not be read.
    """
    content = _content(path)
    try:
        raw: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {_fault(content)}.", _DAMAGED_HINT) from error
    try:
        return msgspec.convert(_of_this_schema(path, raw, kind), kind)
    except msgspec.ValidationError as error:
        raise DamagedError(
            f"{path} does not hold what it should: {error}.", _DAMAGED_HINT
        ) from error


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # A list reads thousands.
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except IsADirectoryError as error:
        raise DamagedError(f"{path} is damaged: it is a folder.", _DAMAGED_HINT) from error
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read: {error.strerror}.", "Check who may read it, and the disk."
        ) from error


def _fault(content: bytes) -> str:
    """Say what is wrong with a file that should hold a JSON object, and cannot be read as one."""
    if not content.strip():
        return "it is empty"
    if content.lstrip().startswith(b"{") and not content.rstrip().endswith(b"}"):
        return "it is cut short"
    return "it is not JSON"


def _of_this_schema(path: Path, raw: Any, kind: type[Any]) -> Any:
    """Bring a record up to the present schema, one number at a time."""
    schema = raw.get("schema", SCHEMA) if isinstance(raw, dict) else SCHEMA
    if not isinstance(schema, int):
        return raw
    if schema > SCHEMA:
        raise NewerStoreError(
            f"{path} was written by a newer version (schema {schema}, this one reads {SCHEMA}).",
            "Use a newer llm-trainer for this workspace.",
        )
    for number in range(schema, SCHEMA):
        step = MIGRATIONS.get((kind, number))
        raw = (step(raw) if step else raw) | {"schema": number + 1}
    return raw


def set_aside(path: Path) -> Path:
    """Rename a damaged file to ``<name>.damaged-<UTC time>`` and return its new path.

    Raises:
        OSError: it cannot be renamed.
    """
    base = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (base if n == 1 else f"{base}-{n}" for n in itertools.count(1))
    target = next(t for t in map(path.with_name, names) if not t.exists())
    path.rename(target)
    return target
