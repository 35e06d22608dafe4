"""The metrics database of a run: every point, evaluation, sample, reading and event.

One connection writes, the worker's; every other is opened read-only. The database is in WAL mode
while the worker lives and returns to a single file at a clean end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import StoreError, UsageError

SCHEMA_VERSION = 1
BUSY_TIMEOUT_MS = 5000

_TABLES = """
CREATE TABLE points (
    step INTEGER PRIMARY KEY, epoch REAL, tokens INTEGER, elapsed_seconds REAL,
    train_loss REAL, learning_rate REAL, grad_norm REAL, tokens_per_second REAL
);
CREATE TABLE evaluations (
    step INTEGER PRIMARY KEY, epoch REAL, tokens INTEGER, elapsed_seconds REAL,
    val_loss REAL, val_word_perplexity REAL, val_bits_per_byte REAL, seconds REAL
);
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, step INTEGER, at TEXT, prompt TEXT, text TEXT
);
CREATE TABLE system (
    id INTEGER PRIMARY KEY, at TEXT, elapsed_seconds REAL,
    gpu_utilization REAL, gpu_memory_bytes INTEGER, gpu_memory_total_bytes INTEGER,
    gpu_temperature_c REAL, gpu_power_w REAL, cpu_percent REAL, ram_bytes INTEGER,
    process_ram_bytes INTEGER
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at TEXT, step INTEGER, kind TEXT, level TEXT, message TEXT
);
CREATE INDEX samples_by_step ON samples(step);
"""

POINT_SERIES = ("train_loss", "learning_rate", "grad_norm", "tokens_per_second")
EVALUATION_SERIES = ("val_loss", "val_word_perplexity", "val_bits_per_byte")
SERIES: dict[str, str] = {
    **dict.fromkeys(POINT_SERIES, "points"),
    **dict.fromkeys(EVALUATION_SERIES, "evaluations"),
}
"""The table in which each series is kept."""

_AXES = ("epoch", "tokens", "elapsed_seconds")
SYSTEM_FIELDS = (
    "gpu_utilization",
    "gpu_memory_bytes",
    "gpu_memory_total_bytes",
    "gpu_temperature_c",
    "gpu_power_w",
    "cpu_percent",
    "ram_bytes",
    "process_ram_bytes",
)
_MAX_POINTS = 20_000

Row = Mapping[str, Any]


class MetricsWriter:
    """The one connection that writes. One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._migrate()

    def _migrate(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"The metrics were written by a newer version (schema {version}).",
                "Use a newer llm-trainer for this workspace.",
            )
        if version == 0:
            self._connection.executescript(
                f"BEGIN; {_TABLES} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;"
            )

    def write(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Store ``(table, row)`` pairs, all or none. A step that is there already is replaced.

        Raises:
            sqlite3.Error: nothing was stored; the same rows can be written again later.
        """
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table, row in rows:
                columns = ", ".join(row)
                marks = ", ".join("?" * len(row))
                connection.execute(
                    f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})",
                    tuple(row.values()),
                )
            connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT (disk full) may have rolled back by itself already.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def cut_after(self, step: int) -> None:
        """Forget what lies past ``step``, so that a resumed curve never doubles back."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for table in ("points", "evaluations", "samples"):
            connection.execute(f"DELETE FROM {table} WHERE step > ?", (step,))
        connection.execute("COMMIT")

    def close(self) -> None:
        """Fold the write-ahead log into the one file and close.

        While a reader is connected SQLite keeps the WAL; the next clean end folds it.
        """
        try:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._connection.execute("PRAGMA busy_timeout=200")
            self._connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError:
            pass
        finally:
            self._connection.close()


class MetricsReader:
    """A read-only view of a run's metrics; every method is one short read.

    A run that has no database yet reads as empty. Use one reader in one thread, and close it.
    """

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection | None = None
        if path.exists():
            self._connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
            self._connection.row_factory = sqlite3.Row

    def __enter__(self) -> MetricsReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []  # The worker has made the file and not yet its tables.
            raise StoreError(f"The metrics cannot be read: {error}.") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"The metrics database is damaged: {error}.",
                "Charts are not available for this run; its checkpoints are not affected.",
            ) from error

    def last_step(self) -> int | None:
        """Return the newest step that has a point."""
        rows = self._rows("SELECT max(step) AS step FROM points")
        return rows[0]["step"] if rows else None

    def series(
        self,
        names: Sequence[str],
        *,
        first: int | None = None,
        last: int | None = None,
        after: int | None = None,
        points: int = 1000,
    ) -> dict[str, Any]:
        """Answer series in at most ``points`` buckets each.

        Args:
            names: which of :data:`SERIES`.
            first, last: smallest and largest step, both included.
            after: only steps past this one, for a viewer that has the rest.
            points: most buckets a series; a bucket gives its last value, minimum and maximum.

        Returns:
            ``{"last_step", "points", "of", "series": {name: {"step", "value", "min", "max",
            "epoch", "tokens", "elapsed_seconds", "points", "of"}}}`` where ``points`` of ``of``
            says how many are shown of how many there are.

        Raises:
            UsageError: an unknown series, or a number of points that is not from 1 to 20,000.
        """
        check_series(names, points)
        low = max(first if first is not None else 0, after + 1 if after is not None else 0)
        answers = {name: self._bucketed(name, low, last, points) for name in names}
        return {
            "last_step": self.last_step(),
            "points": sum(answer["points"] for answer in answers.values()),
            "of": sum(answer["of"] for answer in answers.values()),
            "series": answers,
        }

    def _bucketed(self, name: str, low: int, high: int | None, points: int) -> dict[str, Any]:
        table = SERIES[name]
        where = f"step >= ? AND {name} IS NOT NULL" + ("" if high is None else " AND step <= ?")
        bounds = (low,) if high is None else (low, high)
        extent = self._rows(
            f"SELECT min(step) AS first, max(step) AS last, count(*) AS n FROM {table} "
            f"WHERE {where}",
            bounds,
        )
        n = extent[0]["n"] if extent else 0
        if n == 0:
            return _columns([], 0)
        start, width = extent[0]["first"], bucket_width(extent[0], points)
        rows = self._rows(
            f"SELECT p.step, p.{name} AS value, b.low, b.high, p.epoch, p.tokens, "
            f"p.elapsed_seconds FROM (SELECT max(step) AS step, min({name}) AS low, "
            f"max({name}) AS high FROM {table} WHERE {where} GROUP BY (step - {start}) / {width}) "
            f"AS b JOIN {table} AS p ON p.step = b.step ORDER BY p.step",
            bounds,
        )
        return _columns(rows, n)

    def latest_evaluations(self) -> list[dict[str, Any]]:
        """Return every evaluation, oldest first."""
        return [dict(row) for row in self._rows("SELECT * FROM evaluations ORDER BY step")]

    def samples(self, after_id: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """Return continuations of the fixed prompts, oldest first."""
        return self._newest("samples", after_id, limit)

    def events(self, after_id: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """Return what has happened to the run, oldest first."""
        return self._newest("events", after_id, limit)

    def system(self, after_id: int = 0, limit: int = 500) -> list[dict[str, Any]]:
        """Return the newest readings of GPU, processor and memory, oldest first."""
        return self._newest("system", after_id, limit)

    def _newest(self, table: str, after_id: int, limit: int) -> list[dict[str, Any]]:
        rows = self._rows(
            f"SELECT * FROM {table} WHERE id > ? ORDER BY id DESC LIMIT ?", (after_id, limit)
        )
        return [dict(row) for row in reversed(rows)]

    def export_rows(self) -> Iterable[sqlite3.Row]:
        """Yield one row a step that has a point or an evaluation, for the CSV export."""
        return self._rows(
            "SELECT step, p.epoch, p.tokens, p.elapsed_seconds, p.train_loss, e.val_loss, "
            "p.learning_rate, p.grad_norm, p.tokens_per_second FROM points AS p "
            "LEFT JOIN evaluations AS e USING (step) UNION ALL "
            "SELECT e.step, e.epoch, e.tokens, e.elapsed_seconds, NULL, e.val_loss, NULL, NULL, "
            "NULL FROM evaluations AS e WHERE e.step NOT IN (SELECT step FROM points) "
            "ORDER BY step"
        )


def check_series(names: Sequence[str], points: int) -> None:
    """Refuse series that do not exist and a senseless number of points.

    Raises:
        UsageError: with what is allowed.
    """
    unknown = [name for name in names if name not in SERIES]
    if unknown or not names:
        what = f"'{unknown[0]}' is not a series." if unknown else "No series was named."
        raise UsageError(what, f"There are: {', '.join(SERIES)}.")
    if not 1 <= points <= _MAX_POINTS:
        raise UsageError(f"points = {points} is not from 1 to {_MAX_POINTS}.")


def bucket_width(extent: Mapping[str, Any] | sqlite3.Row, points: int) -> int:
    """Return how many steps share a bucket so that at most ``points`` buckets cover the extent."""
    if extent["n"] <= points:
        return 1
    return int(-(-(extent["last"] - extent["first"] + 1) // points))


def _columns(rows: Sequence[sqlite3.Row], total: int) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "step": [row["step"] for row in rows],
        "value": [row["value"] for row in rows],
        "min": [row["low"] for row in rows],
        "max": [row["high"] for row in rows],
    }
    for axis in _AXES:
        columns[axis] = [row[axis] for row in rows]
    return columns | {"points": len(rows), "of": total}
