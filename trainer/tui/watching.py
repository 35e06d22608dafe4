"""Reading the run store for the screen: small reads, and only of the run that is shown.

Nothing here knows Textual. One thread at a time uses a :class:`StoreWatch`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainer import config as configuration
from trainer.errors import StoreError, TrainerError
from trainer.runs import Run, RunStore
from trainer.store.checkpoints import Checkpoint
from trainer.store.metrics import MetricsReader
from trainer.store.records import ProcessRecord
from trainer.tui.curves import NO_CURVES, Curves, read_curves

MOST_RUNS = 1000
LOG_LINES = 300
MOST_SAMPLES = 200
MOST_EVENTS = 100


@dataclass(frozen=True)
class Listing:
    """The runs of the workspace, pinned and newest first."""

    runs: tuple[Run, ...]

    @property
    def active(self) -> int:
        """How many are being worked on."""
        return sum(run.active for run in self.runs)


@dataclass(frozen=True)
class Glimpse:
    """All that is shown of one run, as it stood at one moment.

    Attributes:
        settings: what differs from the defaults, as lines.
        max_steps: the steps at which its configuration cuts it short, if it does.
        trouble: why its metrics cannot be shown.
        reference: another run that its curves are compared with.
    """

    run: Run
    curves: Curves = NO_CURVES
    reading: dict[str, Any] | None = None
    log: tuple[str, ...] = ()
    samples: tuple[dict[str, Any], ...] = ()
    events: tuple[dict[str, Any], ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    settings: tuple[str, ...] = ()
    max_steps: int | None = None
    trouble: str = ""
    reference: Glimpse | None = None


def read_listing(store: RunStore) -> Listing:
    """List the newest runs."""
    return Listing(tuple(store.list(limit=MOST_RUNS).runs))


class StoreWatch:
    """Looks at one run again and again and keeps what it has read of it."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._known: Glimpse | None = None
        self._generation: tuple[ProcessRecord | None, bool] | None = None

    def look(self, run_id: str) -> Glimpse:
        """Return the run as it stands now.

        Damaged metrics do not hide the rest: they are told in ``trouble``.

        Raises:
            NotFoundError: there is no such run any more.
            StoreError: its state is damaged.
        """
        run = self._store.inspect(run_id)
        known = replace(
            self._still_true(run),
            run=run,
            log=tuple(self._log(run_id)),
            checkpoints=tuple(self._store.checkpoints(run_id)),
            trouble="",
        )
        try:
            self._known = _with_metrics(known)
        except (StoreError, sqlite3.Error) as error:
            self._known = replace(known, trouble=str(error))
        return self._known

    def _still_true(self, run: Run) -> Glimpse:
        """Return what is known of the run, or nothing when its metrics may have been cut.

        That happens when a new process takes the run up again, before training begins.
        """
        known = self._known
        process = run.state.process
        if process is None and known is not None and self._generation is not None:
            process = self._generation[0]
        generation = (process, run.status in ("queued", "preparing"))
        if known is None or known.run.run_id != run.run_id or generation != self._generation:
            self._generation = generation
            return self._configured(run)
        return known

    def _configured(self, run: Run) -> Glimpse:
        try:
            config = self._store.config(run.run_id)
        except TrainerError as error:
            # The rest of the run can be shown all the same.
            return Glimpse(run, settings=(error.message,))
        differing = configuration.differences(config)
        lines = (f"{key} = {configuration.toml_value(value)}" for key, value in differing.items())
        return Glimpse(run, settings=tuple(lines), max_steps=config.training.max_steps)

    def _log(self, run_id: str) -> Sequence[str]:
        """Return the training log, or what the process printed if it never got so far."""
        return self._store.log_tail(run_id, LOG_LINES) or self._store.log_tail(
            run_id, LOG_LINES, name="worker"
        )


def _with_metrics(known: Glimpse) -> Glimpse:
    with MetricsReader(known.run.paths.metrics) as reader:
        return replace(
            known,
            curves=read_curves(reader, known.curves),
            reading=_last(reader.system(limit=1)),
            samples=_grown(known.samples, reader.samples, MOST_SAMPLES),
            events=_grown(known.events, reader.events, MOST_EVENTS),
        )


def _last(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return rows[-1] if rows else None


def _grown(
    known: tuple[dict[str, Any], ...], read: Callable[..., list[dict[str, Any]]], most: int
) -> tuple[dict[str, Any], ...]:
    new = read(after_id=known[-1]["id"] if known else 0, limit=most)
    return (known + tuple(new))[-most:] if new else known


def appended(old: Iterable[str], new: Iterable[str]) -> tuple[list[str], bool]:
    """Compare two tails of a growing log.

    Returns:
        The lines to append, and whether the old lines must be forgotten first.
    """
    before, after = list(old), list(new)
    for kept in range(min(len(before), len(after)), 0, -1):
        if before[-kept:] == after[:kept]:
            return after[kept:], False
    return after, bool(before)
