"""What is known of a run's checkpoints without opening them, from the JSON files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

CHECKPOINT_SOURCES = "latest, best or epoch-<n>"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a checkpoint without opening it, from the JSON file beside it."""

    name: str
    step: int
    epoch: int
    val_loss: float | None = None
    val_word_perplexity: float | None = None
    bytes: int = 0
    saved_at: str | None = None
    sha256: str | None = None


def is_checkpoint_name(name: str) -> bool:
    """Say whether a text could name a checkpoint: anything else never becomes a path."""
    numbered = name.removeprefix("epoch-")
    return name in ("latest", "best") or (
        numbered != name and numbered.isascii() and numbered.isdecimal()
    )


def list_checkpoints(folder: Path) -> Sequence[Checkpoint]:
    """List the checkpoints of a folder: latest, best, then epochs from the newest."""
    found = [_read_sidecar(path) for path in folder.glob("*.pt.json")]
    return sorted((c for c in found if c is not None), key=_checkpoint_order)


def _read_sidecar(path: Path) -> Checkpoint | None:
    name = path.name.removesuffix(".pt.json")
    try:
        raw = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        checkpoint = msgspec.convert(raw | {"name": name}, Checkpoint)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # Half written, or being replaced: it shows again at the next look.
    return checkpoint if path.with_suffix("").exists() else None


def _checkpoint_order(checkpoint: Checkpoint) -> tuple[int, int]:
    rank = {"latest": 0, "best": 1}.get(checkpoint.name, 2)
    return rank, -checkpoint.step
