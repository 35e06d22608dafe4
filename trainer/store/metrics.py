"""The metrics database of a run: every point, evaluation, sample, reading and event.

One connection writes, the worker's; every other is opened read-only. The database is in WAL mode
while the worker lives and returns to a single file at a clean end. ``PRAGMA user_version`` counts
the migrations it has been through; readers read every older version too.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer.errors import DamagedError, NewerStoreError, StoreError, UsageError
from trainer.store import rollup
from trainer.store.files import set_aside
from trainer.store.rollup import BLOCK, Buckets, Table

BUSY_TIMEOUT_MS = 5000

_VERSION_1 = """
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
_VERSION_2 = """
CREATE TABLE sittings (
    id INTEGER PRIMARY KEY, pid INTEGER, started_at TEXT, from_step INTEGER,
    ended_at TEXT, to_step INTEGER, ended TEXT
);
"""
_VERSION_3 = (
    rollup.making(
        "points",
        "step",
        ("train_loss", "learning_rate", "grad_norm", "tokens_per_second"),
        "point_blocks",
    )
    + rollup.making(
        "system",
        "id",
        (
            "gpu_utilization",
            "gpu_memory_bytes",
            "gpu_memory_total_bytes",
            "gpu_temperature_c",
            "gpu_power_w",
            "cpu_percent",
            "ram_bytes",
            "process_ram_bytes",
        ),
        "system_blocks",
    )
    + "CREATE INDEX system_by_time ON system(elapsed_seconds);\n"
)
MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3)
"""What brings a database from each version to the next, each in one transaction."""

SCHEMA_VERSION = len(MIGRATIONS)
_FIRST_WITH_BLOCKS = 3
TABLES = ("points", "evaluations", "samples", "system", "events", "sittings")

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
_POINTS = Table("points", "step", POINT_SERIES, _AXES, "point_blocks")
_EVALUATIONS = Table("evaluations", "step", EVALUATION_SERIES, _AXES)
_SYSTEM = Table("system", "id", SYSTEM_FIELDS, ("elapsed_seconds",), "system_blocks")
_BLOCKS_KEPT = {table.name: table for table in (_POINTS, _SYSTEM)}
_MAX_POINTS = 20_000
_ROWS_A_READ = 5000

Row = Mapping[str, Any]


class MetricsWriter:
    """The one connection that writes. One thread at a time may use it."""

    def __init__(self, path: Path) -> None:
        """Open the database, or begin it, and bring it to the present version.

        Raises:
            NewerStoreError: it was written by a newer version.
            DamagedError: it is not a whole database.
            sqlite3.Error: it cannot be opened or written.
        """
        self._path = path
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise
        self._identity = _identity(path)

    def _open(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        with _damage_told():
            version = _version(self._connection)
            _check_pages(self._connection)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            for number in range(version, SCHEMA_VERSION):
                self._connection.executescript(
                    f"BEGIN; {MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;"
                )

    @property
    def is_in_place(self) -> bool:
        """Whether the file that is written is still the one at its path."""
        return _identity(self._path) == self._identity

    def write(self, rows: Iterable[tuple[str, Row]]) -> None:
        """Store ``(table, row)`` pairs, all or none. A step that is there already is replaced.

        Raises:
            DamagedError: the database is not whole any more.
            sqlite3.Error: nothing was stored; the same rows can be written again later.
        """
        touched: dict[str, set[int]] = {name: set() for name in _BLOCKS_KEPT}
        with self._transaction() as connection:
            for table, row in rows:
                columns = ", ".join(row)
                marks = ", ".join("?" * len(row))
                inserted = connection.execute(
                    f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})",
                    tuple(row.values()),
                )
                if table in touched and inserted.lastrowid is not None:
                    touched[table].add(inserted.lastrowid // BLOCK)
            for table, blocks in touched.items():
                rollup.renew(connection, _BLOCKS_KEPT[table], blocks)

    def cut_after(self, step: int, *, evaluated: bool = True) -> int:
        """Forget what lies past ``step``, so that a resumed curve never doubles back.

        Args:
            evaluated: evaluation and samples of ``step`` itself are kept, for they are done.

        Returns how many steps have a point up to there: as many, unless some were lost.

        Raises:
            DamagedError, sqlite3.Error: nothing was forgotten.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM points WHERE step > ?", (step,))
            rollup.cut(connection, _POINTS, step)
            for table in ("evaluations", "samples"):
                last = step if evaluated else step - 1
                connection.execute(f"DELETE FROM {table} WHERE step > ?", (last,))
            counted = connection.execute("SELECT count(*) FROM points").fetchone()
        return int(counted[0])

    def missing_steps(self, last: int | None = None) -> list[tuple[int, int]]:
        """Return the steps without a point up to ``last``, as first and last of each gap.

        Args:
            last: None: the newest step that has one.
        """
        if last is None:
            newest = self._connection.execute("SELECT coalesce(max(step), 0) FROM points")
            last = int(newest.fetchone()[0])
        rows = self._connection.execute(
            "SELECT before + 1, step - 1 FROM (SELECT step, lag(step, 1, 0) OVER (ORDER BY step) "
            "AS before FROM (SELECT step FROM points WHERE step BETWEEN 1 AND ? UNION SELECT ?)) "
            "WHERE step > before + 1",
            (last, last + 1),
        )
        return [(int(first), int(end)) for first, end in rows]

    def next_sitting(self) -> int:
        """Return the id for the row of the process that takes the run up now."""
        rows = self._connection.execute("SELECT coalesce(max(id), 0) + 1 FROM sittings")
        return int(rows.fetchone()[0])

    def written_again(self) -> MetricsWriter:
        """Write the database that is open to its path, where it no longer is, and close it.

        What stands there instead is set aside.

        Raises:
            OSError, sqlite3.Error: that cannot be done now; this one stays open.
        """
        # A killed copy must not stand in the database's place.
        half = self._path.with_name(f".{self._path.name}.copy")
        try:
            with contextlib.closing(sqlite3.connect(half)) as copy:
                self._connection.backup(copy)
            if self._path.exists():
                _set_aside_with_log(self._path)
            half.rename(self._path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise
        self._connection.close()
        return MetricsWriter(self._path)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        with _damage_told():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (disk full) may have rolled back by itself already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Fold the write-ahead log into the one file and close.

        While a reader is connected, or the disk is full, SQLite keeps the WAL; the next clean end
        folds it.
        """
        try:
            if self.is_in_place:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self._connection.execute("PRAGMA busy_timeout=200")
                self._connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.DatabaseError:
            pass
        finally:
            self._connection.close()


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        raise _damaged(_NO_DATABASE if _code(error) == sqlite3.SQLITE_NOTADB else _TORN) from error


_TORN = "its parts do not fit together any more"
_NO_DATABASE = "it does not hold a database any more"


def _damaged(why: str) -> DamagedError:
    return DamagedError(
        f"The metrics database is damaged: {why}.",
        "Charts lack some or all of their points; checkpoints are not affected. A resume sets the "
        "file aside and puts a new one together from what can still be read.",
    )


def _check_pages(connection: sqlite3.Connection) -> None:
    """Read the whole file and compare its pages with each other.

    Raises:
        DamagedError: they do not fit together.
    """
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _damaged(_TORN)


def _version(connection: sqlite3.Connection) -> int:
    """Return a database's version.

    Raises:
        NewerStoreError: this program does not know it.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise NewerStoreError(
            f"The metrics were written by a newer version (schema {version}, this one reads "
            f"{SCHEMA_VERSION}).",
            "Use a newer llm-trainer for this workspace.",
        )
    return version


def _code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def check_metrics_version(path: Path) -> None:
    """Refuse metrics that only a newer version knows; of damaged ones the worker takes care.

    Raises:
        NewerStoreError: with what to do.
    """
    try:
        MetricsReader(path).close()
    except NewerStoreError:
        raise
    except StoreError:
        return


def check_metrics(path: Path, *, whole: bool = False) -> None:
    """Refuse a database that is damaged.

    Args:
        whole: read all of it; without, only its newest point, which costs next to nothing.

    Raises:
        DamagedError: with what a resume will do.
        StoreError: it cannot be read.
    """
    with MetricsReader(path) as reader:
        reader.last_step()
        if whole:
            reader.check_pages()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --------------------------------------------------------------------------- damaged databases


def open_or_replace(path: Path) -> tuple[MetricsWriter, str | None]:
    """Open a run's database for writing; a damaged one is set aside, and saved what can be.

    Returns the writer, and what happened where something did.

    Raises:
        NewerStoreError: it was written by a newer version.
        sqlite3.Error, OSError: it cannot be opened, written or set aside.
    """
    try:
        return MetricsWriter(path), None
    except DamagedError as error:
        damaged = _set_aside_with_log(path)
        writer = MetricsWriter(path)
        saved = salvage(damaged, writer)
        return writer, (
            f"{error.message} It was set aside as {damaged.name}. {_salvaged_words(saved)}"
        )


def _salvaged_words(points: int) -> str:
    if not points:
        return "No point of it could be read any more: a new one was begun."
    return f"A new one was put together from what could still be read: {points:,} points."


def _set_aside_with_log(path: Path) -> Path:
    """Set a database aside together with its write-ahead log, which belongs to it by name."""
    damaged = set_aside(path)
    for ending in ("-wal", "-shm"):
        log = path.with_name(path.name + ending)
        if log.exists():
            log.rename(damaged.with_name(damaged.name + ending))
    return damaged


def salvage(damaged: Path, writer: MetricsWriter) -> int:
    """Copy what can still be read out of a damaged database; return how many points that is."""
    points = 0
    with contextlib.closing(_connect_read_only(damaged)) as source:
        source.row_factory = sqlite3.Row
        for table in TABLES:
            rows = {row[0]: (table, dict(row)) for row in _readable_rows(source, table)}
            writer.write(rows[key] for key in sorted(rows))
            points += len(rows) if table == "points" else 0
    return points


def _readable_rows(source: sqlite3.Connection, table: str) -> Iterator[sqlite3.Row]:
    """Yield the rows of a table from its start, then from its end, each until damage is met."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT * FROM {table} ORDER BY rowid {order}")
        except sqlite3.DatabaseError:
            continue
        return


def _connect_read_only(path: Path, more: str = "") -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{more}", uri=True)
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    return connection


def open_read_only(path: Path) -> tuple[sqlite3.Connection, str | None]:
    """Connect to a run's database as a viewer does; return a note for people if something misses.

    Raises:
        NewerStoreError: it was written by a newer version.
        sqlite3.Error: it cannot be read.
    """
    connection = _connect_read_only(path)
    try:
        _version(connection)
    except sqlite3.OperationalError as error:
        connection.close()
        code = _code(error)
        if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        connection = _connect_read_only(path, "&immutable=1")
        _version(connection)
        # A write-ahead log is only read with a file beside it that a read-only folder cannot take:
        # without the log everything up to its beginning is read. SQLITE_READONLY: the worker was
        # killed just as it went over to the log or folded it in, which changes two bytes of the
        # file's header and no row; the next writer puts those right, a reader may not.
        if code == sqlite3.SQLITE_CANTOPEN:
            return connection, (
                f"{path.name}-wal cannot be read in a read-only folder: the newest points are not "
                "shown."
            )
    except BaseException:
        connection.close()
        raise
    return connection, None


class MetricsReader:
    """A read-only view of a run's metrics; every method is one short read.

    A run that has no database yet reads as empty. Use one reader in one thread, and close it.
    """

    def __init__(self, path: Path) -> None:
        """Connect to a run's database.

        Raises:
            NewerStoreError: it was written by a newer version.
            DamagedError, StoreError: it is no database, or cannot be opened.
        """
        self.note: str | None = None
        """What a person should know of the figures, if anything."""
        self._connection: sqlite3.Connection | None = None
        self._path = path
        if path.exists():
            with self._told_plainly():
                self._connection, self.note = open_read_only(path)
            self._connection.row_factory = sqlite3.Row

    @contextlib.contextmanager
    def _told_plainly(self) -> Iterator[None]:
        try:
            with _damage_told():
                yield
        except sqlite3.Error as error:
            raise StoreError(
                f"The metrics {self._path} cannot be read: {error}.",
                "Check who may read the file, and the disk.",
            ) from error

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
        with self._told_plainly():
            try:
                return self._connection.execute(query, parameters).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" not in str(error):
                    raise
                return []  # Of an older version, or the worker has not made its tables yet.

    def check_pages(self) -> None:
        """Read the whole file and see whether its parts fit together.

        Raises:
            DamagedError: they do not.
        """
        if self._connection is not None:
            with self._told_plainly():
                _check_pages(self._connection)

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
        answers: dict[str, Any] = {}
        with self._snapshot() as buckets_of:
            for table in (_POINTS, _EVALUATIONS):
                fields = [name for name in names if SERIES[name] == table.name]
                if fields:
                    answers |= buckets_of(table).read(fields, low, last, points)
            last_step = self.last_step()
        return {"last_step": last_step, **_counted({name: answers[name] for name in names})}

    def readings(
        self,
        *,
        after_id: int = 0,
        from_seconds: float | None = None,
        to_seconds: float | None = None,
        points: int = 1000,
    ) -> dict[str, Any]:
        """Answer the readings of the machine as curves, in at most ``points`` buckets each.

        Args:
            after_id: only readings past this one, for a viewer that has the rest.
            from_seconds, to_seconds: only those taken between these times of the run, and the
                ones between them in order.

        Returns:
            ``{"last_id", "points", "of", "series": {field: {"id", "value", "min", "max",
            "elapsed_seconds", "points", "of"}}}`` as :meth:`series`, with the fields of
            :data:`SYSTEM_FIELDS` that have any value.

        Raises:
            UsageError: a number of points that is not from 1 to 20,000.
        """
        _check_points(points)
        with self._snapshot() as buckets_of:
            newest = self._rows("SELECT max(id) AS id FROM system")
            low, high = self._ids_between(from_seconds, to_seconds)
            found = buckets_of(_SYSTEM).read(SYSTEM_FIELDS, max(low, after_id + 1), high, points)
        last_id = newest[0]["id"] if newest else None
        return {"last_id": last_id, **_counted({n: one for n, one in found.items() if one["of"]})}

    def _ids_between(self, start: float | None, end: float | None) -> tuple[int, int | None]:
        """Return the first and last id of the readings between two times of the run."""
        if start is None and end is None:
            return 0, None
        rows = self._rows(
            "SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last FROM system "
            "WHERE elapsed_seconds BETWEEN ? AND ?",
            (start if start is not None else 0.0, end if end is not None else 9e99),
        )
        return (rows[0]["first"], rows[0]["last"]) if rows else (0, None)

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Callable[[Table], Buckets]]:
        """Let several reads see the same data, whatever the worker writes meanwhile.

        Yields what reads a table in buckets.
        """
        connection = self._connection
        if connection is None:
            yield lambda table: Buckets(None, table, with_blocks=False)
            return
        with self._told_plainly():
            connection.execute("BEGIN")
            try:
                version = _version(connection)
                # Of version 0 the worker has made no tables yet.
                source = connection if version else None
                with_blocks = version >= _FIRST_WITH_BLOCKS
                yield lambda table: Buckets(source, table, with_blocks=with_blocks)
            finally:
                connection.rollback()

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

    def all_samples(self) -> list[dict[str, Any]]:
        """Return every continuation of the fixed prompts, in the order of the steps."""
        return [dict(row) for row in self._rows("SELECT * FROM samples ORDER BY step, id")]

    def reading_times(self) -> list[tuple[float, str]]:
        """Return of each reading of the machine how long the run had worked, and the time."""
        query = "SELECT elapsed_seconds, at FROM system WHERE elapsed_seconds IS NOT NULL"
        return [(row["elapsed_seconds"], row["at"]) for row in self._rows(f"{query} ORDER BY id")]

    def sittings(self) -> list[dict[str, Any]]:
        """Return one row for each process that worked on the run, oldest first."""
        rows = [dict(row) for row in self._rows("SELECT * FROM sittings ORDER BY id")]
        for row in rows[:-1]:
            row["ended"] = row["ended"] or "interrupted"
        return rows

    def _newest(self, table: str, after_id: int, limit: int) -> list[dict[str, Any]]:
        rows = self._rows(
            f"SELECT * FROM {table} WHERE id > ? ORDER BY id DESC LIMIT ?", (after_id, limit)
        )
        return [dict(row) for row in reversed(rows)]

    def resumed_at(self, after_id: int, last_id: int) -> int | None:
        """Return the earliest step to which the run went back in some events, if it did.

        Args:
            after_id, last_id: past this event, up to that one.
        """
        rows = self._rows(
            "SELECT min(coalesce(step, 0)) AS step FROM events "
            "WHERE id > ? AND id <= ? AND kind = 'resumed'",
            (after_id, last_id),
        )
        return rows[0]["step"] if rows else None

    def export_rows(self) -> Iterator[sqlite3.Row]:
        """Yield one row a step that has a point or an evaluation, for the CSV export.

        A long table is read in parts: who takes the rows slowly holds up no writer.
        """
        last = -1
        while rows := self._export_part(last):
            yield from rows
            last = rows[-1]["step"]

    def _export_part(self, after: int) -> list[sqlite3.Row]:
        return self._rows(
            "WITH steps AS (SELECT step FROM points WHERE step > ? UNION SELECT step FROM "
            "evaluations WHERE step > ? ORDER BY step LIMIT ?) "
            "SELECT step, coalesce(p.epoch, e.epoch) AS epoch, coalesce(p.tokens, e.tokens) "
            "AS tokens, coalesce(p.elapsed_seconds, e.elapsed_seconds) AS elapsed_seconds, "
            "p.train_loss, e.val_loss, p.learning_rate, p.grad_norm, p.tokens_per_second "
            "FROM steps LEFT JOIN points AS p USING (step) LEFT JOIN evaluations AS e USING (step) "
            "ORDER BY step",
            (after, after, _ROWS_A_READ),
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
    _check_points(points)


def _check_points(points: int) -> None:
    if not 1 <= points <= _MAX_POINTS:
        raise UsageError(f"points = {points} is not from 1 to {_MAX_POINTS}.")


def _counted(series: dict[str, Any]) -> dict[str, Any]:
    """Return series with how many points are shown of how many there are."""
    return {
        "points": sum(columns["points"] for columns in series.values()),
        "of": sum(columns["of"] for columns in series.values()),
        "series": series,
    }
