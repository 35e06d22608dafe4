"""How this program starts another process of itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of this program's modules with this same Python."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> dict[str, str]:
    """Return an environment in which a child finds this same program from any folder.

    Its computing threads sleep while they wait for each other. By default they spin, and beside
    a browser or a second run on the same cores each then starves the other: training was measured
    at 200 tokens a second instead of 2,000 so. Threads of numpy's own are left out: torch has all
    products that are worth sharing, and two pools of threads would wait for each other's cores.
    """
    root = str(Path(__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH")
    found = {"PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}
    threads = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    return threads | os.environ | found
