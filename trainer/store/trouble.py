"""What keeps a run from being written, told in a file that needs no new space.

``state.json`` is replaced, so nothing of it can be told once the disk is full. ``trouble.json``
is one block that the worker reserves at its start and overwrites in place: a full disk takes
that from nobody. Beside the trouble it tells the figures that move, which would stand still
otherwise. It is edited, never replaced, and therefore holds nothing that could not be missed;
half of it, or none, reads as no trouble.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from trainer.store.records import ACTIVE, Progress, State, Status, now
from trainer.store.space import NO_SPACE, WAITING_FOR_SPACE

BLOCK_BYTES = 4096


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What moves in a state while a run goes on: fields of it, by their names and meanings."""

    status: Status
    phase: str | None = None
    progress: Progress | None = None
    epoch: int | None = None
    step: int | None = None
    total_steps: int | None = None
    tokens: int | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    best_val_loss: float | None = None
    val_word_perplexity: float | None = None
    best_val_word_perplexity: float | None = None
    val_bits_per_byte: float | None = None
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    utilisation: float | None = None
    elapsed_seconds: float | None = None
    eta_seconds: float | None = None
    updated_at: str

    @classmethod
    def of(cls, state: State) -> Figures:
        """Take them from a state."""
        return cls(**{name: getattr(state, name) for name in cls.__struct_fields__})

    def over(self, state: State) -> State:
        """Lay them over an older state of the same run.

        A run that is known to be stopping keeps that status. One that has ended and could not
        write so yet is not over for those who look: its process lives.
        """
        figures = msgspec.structs.asdict(self)
        if self.status not in ACTIVE:
            figures |= {"status": state.status, "phase": "finishing"}
        elif state.status == "stopping":
            figures["status"] = state.status
        return msgspec.structs.replace(state, **figures)


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """What is in the way, a sentence or two a source, and how the run stood when it was told."""

    heartbeat_at: str
    heartbeat_uptime_seconds: float
    messages: dict[str, str] = {}
    figures: Figures | None = None

    @property
    def in_words(self) -> str | None:
        """All of it, or None when nothing is in the way."""
        return " ".join(self.messages.values()) or None

    def over(self, state: State) -> State:
        """Lay what the worker told here over a state that it wrote before; a newer one stays."""
        if (state.heartbeat_uptime_seconds or 0.0) >= self.heartbeat_uptime_seconds:
            return state
        told = state if self.figures is None else self.figures.over(state)
        return msgspec.structs.replace(
            told,
            heartbeat_at=self.heartbeat_at,
            heartbeat_uptime_seconds=self.heartbeat_uptime_seconds,
        )


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

    def write(self, messages: Mapping[str, str], state: State | None = None) -> None:
        """Overwrite the block with the present trouble, and the figures of the present state.

        Raises:
            OSError: not even that is possible (a file system that copies on write).
        """
        figures = None if state is None else Figures.of(state)
        os.pwrite(self._descriptor, encoded(messages, figures), 0)

    def remove(self) -> None:
        """Give the block back: the run has ended and its state says all."""
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)


def encoded(messages: Mapping[str, str], figures: Figures | None = None) -> bytes:
    """Write trouble as one block; what does not fit is left out, the last source first."""
    kept = dict(messages)
    while True:
        trouble = Trouble(
            heartbeat_at=now(),
            heartbeat_uptime_seconds=time.monotonic(),
            messages=kept,
            figures=figures,
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


def meanwhile_words(state: State, *, waits: bool, ending: str | None) -> str:
    """Say what becomes of a run while its files cannot be written.

    Args:
        waits: whether training waits because no more can be kept.
        ending: the status that the run has come to and cannot tell yet, or None.
    """
    if ending == "completed":
        return "All steps are done; the run waits until it can say so"
    if ending is not None:
        return f"The run has ended ({ending}) and tries to say so"
    if waits:
        return "Training waits, for no more can be kept"
    if state.phase == WAITING_FOR_SPACE:
        done = "Training is stopped" if state.status == "stopping" else "All steps are done"
        return f"{done}; the run waits for space to save its last checkpoint"
    if state.status == "stopping":
        return "The run is stopping"
    return "Training goes on" if state.status == "running" else "The run goes on"


def unwritten_words(reasons: Mapping[str, str], meanwhile: str) -> str | None:
    """Say which files cannot be written and what becomes of the run.

    Args:
        reasons: by file, why.
        meanwhile: see :func:`meanwhile_words`.
    """
    if not reasons:
        return None
    causes: dict[str, list[str]] = {}
    for file, cause in reasons.items():
        causes.setdefault(cause, []).append(file)
    told = "; ".join(f"{listed(files)} cannot be written: {why}" for why, files in causes.items())
    return f"{told}. {meanwhile}; what is missing is kept in memory and written later."


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
