"""Files that are replaced, never edited: a reader sees the old whole or the new whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trainer.errors import StoreError
from trainer.store.records import SCHEMA

T = TypeVar("T")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a crash at any point leaves one whole version.

    Raises:
        OSError: the folder is gone, read-only or full; the old file is untouched.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
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
    """Read a JSON record.

    Raises:
        FileNotFoundError: there is no such file.
        StoreError: it is damaged, or was written by a newer version.
    """
    content = path.read_bytes()
    try:
        raw: Any = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise StoreError(
            f"{path} is damaged: {error}.", "Restore it from a copy, or delete the run."
        ) from error
    _check_schema(path, raw)
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise StoreError(
            f"{path} does not hold what it should: {error}.",
            "Restore it from a copy, or delete the run.",
        ) from error


def _check_schema(path: Path, raw: Any) -> None:
    schema = raw.get("schema", SCHEMA) if isinstance(raw, dict) else SCHEMA
    if isinstance(schema, int) and schema > SCHEMA:
        raise StoreError(
            f"{path} was written by a newer version (schema {schema}, this one reads {SCHEMA}).",
            "Use a newer llm-trainer for this workspace.",
        )
