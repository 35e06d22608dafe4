"""A real worker that takes step after step, and when each step of it was done."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

from benchmarks.options import Options
from trainer import formats
from trainer.runs import RunStore

_PATIENCE_SECONDS = 120.0

_LIVE_RUN = (
    "model.layers=2",
    "model.width=128",
    "training.batch_size=4",
    "training.seq_length=128",
    "training.epochs=100000",
    "training.compile=off",
    "checkpoint.every_minutes=null",
    "evaluation.sample_tokens=1",
)
"""Steps of some tens of milliseconds, and nothing but steps for a long while."""


@contextlib.contextmanager
def training(options: Options, store: RunStore) -> Iterator[str]:
    """Start the worker, give the id of its run, and kill it at the end.

    Raises:
        RuntimeError: the run fails.
    """
    run_id = store.create(options.configuration(*_LIVE_RUN))
    try:
        run = store.wait(
            run_id, lambda now: (now.state.step or 0) > 5 or not now.active, _PATIENCE_SECONDS
        )
        if run.status != "running":
            raise RuntimeError(f"the run did not start: {run.state.error}")
        yield run_id
    finally:
        store.stop(run_id, kill=True)


def times_done(store: RunStore, run_id: str) -> dict[int, float]:
    """Return when each step was done, in Unix seconds: the state tells one time on both clocks."""
    offsets = []
    for _ in range(20):
        state = store.get(run_id).state
        if state.elapsed_seconds is not None and state.phase == "training":
            told = formats.parse_time(state.updated_at).timestamp()
            offsets.append(told - state.elapsed_seconds)
        time.sleep(0.05)
    # Whatever else changes the state moves its time on: the smallest difference is the step's.
    offset = min(offsets)
    return {step: elapsed + offset for step, elapsed in elapsed_seconds(store, run_id)}


def elapsed_seconds(store: RunStore, run_id: str) -> list[tuple[int, float]]:
    """Return each step and when it was done, in seconds of the run."""
    path = store.get(run_id).paths.metrics
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT step, elapsed_seconds FROM points ORDER BY step")
        return [(int(step), float(elapsed)) for step, elapsed in rows]
