"""The most memory that this process has needed on the device it trains on."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

import torch


def peak_bytes(device: torch.device) -> int:
    """Return the peak so far, in bytes.

    On a GPU it is what torch has reserved there, without the driver's own context; on the CPU
    the resident memory of the whole process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resident_peak_bytes()


def forget_gpu_peak(device: torch.device) -> None:
    """Count a GPU's peak from now on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def resident_peak_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Return the largest resident size of this process.

    Linux tells it of this program alone; ``getrusage`` there also counts what the process was
    before it became this program.
    """
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
