"""What is new in a run since a client looked last: one read for all clients that stand together."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from trainer.errors import TrainerError
from trainer.runs import Run
from trainer.store.metrics import EVALUATION_SERIES, POINT_SERIES, MetricsReader
from trainer.store.workspace import RunPaths
from webapp.answers import Stamps, settled

T = TypeVar("T")
Message = tuple[str, dict[str, Any]]
Position = Annotated[int, msgspec.Meta(ge=-1)]

POINTS_A_MESSAGE = 2000
ROWS_A_MESSAGE = 500
LOG_BYTES_A_MESSAGE = 64 * 1024
READINGS_A_MESSAGE = 1000
FIRST_ROWS = {"events": 100, "samples": 300}
FIRST_LOG_LINES = 200
UNREADABLE = (TrainerError, OSError, sqlite3.Error)
"""What reading a run may raise when its files are damaged, locked or going away."""


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client's request to watch a run; what is None it has nothing of."""

    run_id: str
    after_step: Position | None = None
    after_evaluation_step: Position | None = None
    after_event: Position | None = None
    after_sample: Position | None = None
    after_system: Position | None = None
    after_log: Position | None = None
    only: Literal["state", "metrics"] | None = None


@dataclass(frozen=True)
class Cursor:
    """How far a client has come: steps (-1 before the first), row ids, and a byte of the log."""

    step: int = -1
    evaluation_step: int = -1
    event: int | None = None
    sample: int | None = None
    system: int | None = None
    log: int | None = None

    @classmethod
    def of(cls, watch: Watch) -> Cursor:
        """Begin where a client says it stands."""
        step = -1 if watch.after_step is None else watch.after_step
        judged = watch.after_evaluation_step
        return cls(
            step=step,
            evaluation_step=step if judged is None else judged,
            event=watch.after_event,
            sample=watch.after_sample,
            system=watch.after_system,
            log=watch.after_log,
        )


# ---------------------------------------------------------------------- looking at the files


@dataclass(frozen=True)
class Footprint:
    """Time stamps and sizes by which the files of a run are seen to have changed."""

    state: Stamps
    metrics: Stamps
    log: Stamps
    settled: bool

    @classmethod
    def of(cls, paths: RunPaths) -> Footprint:
        """Look at the files without opening them."""
        state = _stamp(paths.state) + _stamp(paths.annotations) + _stamp(paths.notified)
        metrics, log = metrics_stamps(paths), _stamp(paths.train_log)
        return cls(state, metrics, log, settled(state + metrics + log))


def metrics_stamps(paths: RunPaths) -> Stamps:
    """Look at a run's metrics without opening them."""
    wal = paths.metrics.with_name(f"{paths.metrics.name}-wal")
    return _stamp(paths.metrics) + _stamp(wal)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


class Reading:
    """What one look reads of one run. Close it after use."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[tuple[Any, ...], Any] = {}

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        if "_metrics" in self.__dict__:
            self._metrics.close()

    @cached_property
    def _metrics(self) -> MetricsReader:
        return MetricsReader(self.run.paths.metrics)

    @cached_property
    def state(self) -> dict[str, Any]:
        """The run as every surface shows it."""
        return self.run.as_dict()

    @cached_property
    def last_step(self) -> int:
        """The newest step that has a point, or -1."""
        last = self._metrics.last_step()
        return -1 if last is None else last

    def rows(self, table: str, after_id: int | None) -> list[dict[str, Any]]:
        """Return rows of ``events`` or ``samples`` past an id; None: the newest few."""
        limit = FIRST_ROWS[table] if after_id is None else ROWS_A_MESSAGE
        read = getattr(self._metrics, table)
        return self._once((table, after_id), lambda: read(after_id or 0, limit))

    def points(self, after: int) -> dict[str, Any]:
        """Return the training series past a step, up to :attr:`last_step`."""
        last = max(after, self.last_step)
        return self._once(("points", after), lambda: self._series(POINT_SERIES, after, last))

    def readings(self, after_id: int | None) -> dict[str, Any]:
        """Return the readings of the machine past an id, few as they are, many in buckets."""

        def read() -> dict[str, Any]:
            return self._metrics.readings(after_id=after_id or 0, points=READINGS_A_MESSAGE)

        return self._once(("readings", after_id), read)

    def resumed_at(self, after_event: int) -> int | None:
        """Return the earliest step to which the run went back since an event, if it did."""
        # No event past those that are told: the client is to learn of its resume then.
        last = _last_id(self.rows("events", after_event), after_event)
        return self._once(
            ("resumed", after_event), lambda: self._metrics.resumed_at(after_event, last)
        )

    def evaluations(self, after: int) -> dict[str, Any]:
        """Return the evaluation series past a step."""
        return self._once(("evaluations", after), lambda: self._evaluations(after))

    def _evaluations(self, after: int) -> dict[str, Any]:
        # The worker may add an evaluation between two queries: the first one sets the end.
        steps = self._series(("val_loss",), after)["val_loss"]["step"]
        return self._series(EVALUATION_SERIES, after, steps[-1] if steps else after)

    def _series(
        self, names: tuple[str, ...], after: int, last: int | None = None
    ) -> dict[str, Any]:
        answer = self._metrics.series(names, after=after, last=last, points=POINTS_A_MESSAGE)
        series: dict[str, Any] = answer["series"]
        return series

    def log(self, after: int | None) -> LogPart:
        """Return the lines of the training log past a byte; None: the last few."""
        return self._once(("log", after), lambda: read_log(self.run.paths.train_log, after))

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = read()
        answer: T = self._known[key]
        return answer


@dataclass(frozen=True)
class LogPart:
    """Whole lines of a log, the byte after them, and how many bytes before them were left out."""

    lines: list[str]
    end: int
    skipped_bytes: int = 0


def read_log(path: Path, after: int | None) -> LogPart:
    """Read the whole lines past a byte, at most :data:`LOG_BYTES_A_MESSAGE`; None: the last few.

    A log that is shorter than the position was begun anew, and is read from its start.
    """
    known = max(after or 0, 0)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return LogPart([], 0)
    except OSError as error:
        told = f"{path.name} cannot be read: {error.strerror}."
        return LogPart([told] if after is None else [], 0)
    with file:
        size = file.seek(0, os.SEEK_END)
        known = known if known <= size else 0
        start = max(known, size - LOG_BYTES_A_MESSAGE)
        file.seek(start)
        content = file.read(size - start)
    if start > known:  # It begins in the middle of a line.
        cut = content.find(b"\n") + 1
        start, content = start + cut, content[cut:]
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.decode("utf-8", errors="replace").splitlines()
    if after is None:
        return LogPart(lines[-FIRST_LOG_LINES:], start + len(whole))
    return LogPart(lines, start + len(whole), start - known)


# ---------------------------------------------------------------------- what to send


def new_in_metrics(reading: Reading, cursor: Cursor, first: bool) -> tuple[list[Message], Cursor]:
    """Return what the metrics hold past a cursor, and the cursor after it.

    The first look always answers with ``metrics``, be it empty: the client then knows that it is
    up to date.
    """
    base = valid_until(reading, cursor)
    went_back = base < cursor.step
    events = reading.rows("events", cursor.event)
    samples = reading.rows("samples", 0 if went_back else cursor.sample)
    system = reading.readings(cursor.system)
    moved = replace(
        cursor,
        event=_last_id(events, cursor.event),
        sample=_last_id(samples, 0 if went_back else cursor.sample),
        system=system["last_id"] or cursor.system or 0,
    )
    messages, moved = _curves(reading, moved, base, first)
    if went_back:
        samples = [row for row in samples if row["step"] > base]
    if samples or went_back:
        told = {"after_step": base if went_back else None, "samples": samples}
        messages.append(("sample", told | {"cursor": {"after_sample": moved.sample}}))
    if system["series"]:
        told = {"after_id": cursor.system or 0, "series": system["series"]}
        messages.append(("system", told | {"cursor": {"after_system": moved.system}}))
    if events:
        messages.append(("event", {"events": events, "cursor": {"after_event": moved.event}}))
    return messages, moved


def new_in_curves(reading: Reading, cursor: Cursor, first: bool) -> tuple[list[Message], Cursor]:
    """Return ``metrics`` alone, for a client that asks for nothing else of the metrics."""
    base, events = valid_until(reading, cursor), reading.rows("events", cursor.event)
    moved = replace(cursor, event=_last_id(events, cursor.event))
    messages, moved = _curves(reading, moved, base, first)
    for _, message in messages:
        message["cursor"]["after_event"] = moved.event
    return messages, moved


def valid_until(reading: Reading, cursor: Cursor) -> int:
    """Return the last step up to which what the client holds still stands.

    A resumed run forgets the steps past its checkpoint. That shows in a last step that lies
    before the client's, or in an event that is written before any of the new steps: so the last
    step must be looked at first. Ids of samples are given out again after it.
    """
    last = max(reading.last_step, 0)
    if cursor.event is None:
        return cursor.step if cursor.step <= last else -1
    resumed_at = reading.resumed_at(cursor.event)
    return min(cursor.step, last, cursor.step if resumed_at is None else resumed_at)


def _curves(
    reading: Reading, cursor: Cursor, base: int, first: bool
) -> tuple[list[Message], Cursor]:
    went_back = base < cursor.step
    judged = min(cursor.evaluation_step, base) if went_back else cursor.evaluation_step
    evaluations = reading.evaluations(judged)
    steps = evaluations["val_loss"]["step"]
    last, last_judged = max(base, reading.last_step), steps[-1] if steps else judged
    moved = replace(cursor, step=last, evaluation_step=last_judged)
    if moved == cursor and not first:
        return [], moved
    message = {
        "after_step": base,
        "last_step": None if reading.last_step < 0 else last,
        "series": reading.points(base) | evaluations,
        "cursor": {"after_step": last, "after_evaluation_step": last_judged},
    }
    return [("metrics", message)], moved


def _last_id(rows: list[dict[str, Any]], known: int | None) -> int:
    return int(rows[-1]["id"]) if rows else (known or 0)


def new_in_log(reading: Reading, cursor: Cursor) -> tuple[list[Message], Cursor]:
    """Return the lines past a cursor, and the cursor after them."""
    part = reading.log(cursor.log)
    moved = replace(cursor, log=part.end)
    if not part.lines:
        return [], moved
    message = {
        "lines": part.lines,
        "skipped_bytes": part.skipped_bytes,
        "cursor": {"after_log": part.end},
    }
    return [("log", message)], moved
