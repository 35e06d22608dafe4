"""How much memory models may take."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from trainer import formats
from trainer.candidates import gpus_here
from trainer.errors import TrainerError

MEMORY_VARIABLE = "LLM_TRAINER_INFERENCE_MEMORY_BYTES"
"""Set to how many bytes all models of a process may take together, their texts included."""

SHARED_SHARE, OWN_SHARE = 0.5, 0.9
"""Without that they may take this share of what is free when the process starts: one that stays
takes less than one that ends with its owner."""

_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def limit_bytes(share: float) -> int:
    """Return how many bytes models may take: as many as are set, or a share of what is free."""
    try:
        return int(os.environ[MEMORY_VARIABLE])
    except (KeyError, ValueError):
        return int(share * free_bytes())


def too_large(what: str, needed_bytes: int, limit: int) -> TrainerError | None:
    """Return the error for what would not fit even alone; None where it would."""
    if needed_bytes <= limit:
        return None
    needed, allowed = formats.size(needed_bytes), formats.size(limit)
    return TrainerError(
        f"{what[0].upper()}{what[1:]}: that needs {needed} of memory, and {allowed} are allowed.",
        f"Free memory on this machine and try again later, or allow more with {MEMORY_VARIABLE}.",
    )


def free_bytes() -> int:
    """Return what is free here: on the machine, in its control group, on the fullest GPU."""
    gpus = [gpu.free_bytes for gpu in gpus_here()]
    available = int(psutil.virtual_memory().available)
    return min([available, *(free for free in [free_in_groups(), *gpus] if free is not None)])


def free_in_groups(own: Path = _OWN_GROUP, groups: Path = _GROUPS) -> int | None:
    """Return what the control groups of this process leave it (cgroup v2), or None."""
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return None
    group = Path(line.removeprefix("0::/"))
    free = [_free_in(groups / folder) for folder in (group, *group.parents)]
    return min((left for left in free if left is not None), default=None)


def _free_in(folder: Path) -> int | None:
    try:
        most = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if most == "max" else max(0, int(most) - used)
