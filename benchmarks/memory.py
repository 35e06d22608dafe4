"""Peak memory of a real worker in the quickstart configuration.

A few steps and an evaluation use as much as the whole run: nothing grows with its length. The
peak is what the kernel has noted of the worker (``VmHWM``), which shared libraries are part of.
"""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Figure
from benchmarks.options import Options
from trainer import config as configuration
from trainer.runs import RunStore

TITLE = "Peak memory of the worker"
STEPS = 8
_LOOK_EVERY_SECONDS = 0.05


def measure(options: Options) -> list[Figure]:
    """Train for a few steps, eager and compiled, and look how large the worker has become."""
    return [_peak(options, mode) for mode in ("off", "on")]


def _peak(options: Options, compiled: str) -> Figure:
    data = "python-docs" if options.text is None else options.text
    pairs = (
        f"data.dataset_name={data}",
        *options.settings,
        f"training.compile={compiled}",
        f"training.max_steps={STEPS}",
        f"evaluation.every_steps={STEPS // 2}",
    )
    config = configuration.load("quickstart", configuration.assignments(pairs))
    how = "compiled" if compiled == "on" else "eager"
    with tempfile.TemporaryDirectory() as home:
        return Figure.of(f"quickstart, {how}", [_watch(RunStore(home), config) / 1e9], "GB")


def _watch(store: RunStore, config: configuration.Config) -> int:
    """Train a run and return the largest resident size of its worker, in bytes."""
    run_id, peak = store.create(config), 0
    while (run := store.get(run_id)).active:
        if run.state.process is not None:
            peak = max(peak, peak_bytes(Path(f"/proc/{run.state.process.pid}/status")))
        time.sleep(_LOOK_EVERY_SECONDS)
    if run.status != "completed":
        raise RuntimeError(f"the run ended as {run.status}: {run.state.error}")
    return peak


def peak_bytes(status: Path) -> int:
    """Read a process's largest resident size from its status file; 0 when it has ended."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
