"""What keeps a run from being written, told in a file that needs no new space.

``state.json`` is replaced, so nothing of it can be told once the disk is full. ``trouble.json``
is one block that the worker reserves at its start and overwrites in place: a full disk takes
that from nobody. It is the one file of a run that is edited, and therefore holds nothing that
could not be missed; half of it, or none, reads as no trouble.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from trainer.store.records import now
from trainer.store.space import NO_SPACE

BLOCK_BYTES = 4096


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the way, a sentence or two a source, and when the worker said so last."""

    heartbeat_at: str
    heartbeat_uptime_seconds: float
    messages: dict[str, str] = {}

    @property
    def in_words(self) -> str | None:
        """All of it, or None when nothing is in the way."""
        return " ".join(self.messages.values()) or None


class TroubleFile:
    """The worker's way to tell of trouble."""

    def __init__(self, path: Path) -> None:
        """Reserve the block.

        Raises:
            OSError: there is no space even for that.
        """
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.write({})
        os.fsync(self._descriptor)

    def write(self, messages: Mapping[str, str]) -> None:
        """Overwrite the block with the present trouble.

        Raises:
            OSError: not even that is possible (a file system that copies on write).
        """
        os.pwrite(self._descriptor, encoded(messages), 0)

    def remove(self) -> None:
        """Give the block back: the run has ended and its state says all."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def encoded(messages: Mapping[str, str]) -> bytes:
    """Write trouble as one block; what does not fit is left out, the last source first."""
    kept = dict(messages)
    while True:
        trouble = Trouble(
            heartbeat_at=now(), heartbeat_uptime_seconds=time.monotonic(), messages=kept
        )
        content = msgspec.json.encode(trouble)
        if len(content) <= BLOCK_BYTES:
            return content.ljust(BLOCK_BYTES)
        source, message = kept.popitem()
        if not kept:
            kept[source] = message[: len(message) // 2]


def read_trouble(path: Path) -> Trouble | None:
    """Return what a worker said last, or None where there is nothing to be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trouble)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def unwritten_words(reasons: Mapping[str, str], goes_on: bool) -> str | None:
    """Say which files cannot be written and what becomes of training meanwhile.

    Args:
        reasons: by file, why.
        goes_on: whether training does, or waits.
    """
    if not reasons:
        return None
    causes: dict[str, list[str]] = {}
    for file, cause in reasons.items():
        causes.setdefault(cause, []).append(file)
    told = "; ".join(f"{listed(files)} cannot be written: {why}" for why, files in causes.items())
    training = "Training goes on" if goes_on else "Training waits, for no more can be kept"
    return f"{told}. {training}; what is missing is kept in memory and written later."


def over_words(message: str, others: Mapping[str, str]) -> str:
    """Say that what was in the way is over.

    Args:
        others: what still is.
    """
    if NO_SPACE not in message.lower():
        return f"Over since now: {message}"
    return "There is space again for some of it." if others else "There is space again."


def listed(names: Sequence[str]) -> str:
    """Write ``a``, ``a and b``, or ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
