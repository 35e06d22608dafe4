"""The worker's pen: one thread that writes the run's state and metrics, at least twice a second.

The training loop hands over what it has and goes on at once. What cannot be written (no space
left) is kept and tried again, so a full disk loses no point; that it is so is told in a file that
needs no space (:mod:`trainer.store.trouble`).
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from trainer import formats
from trainer.errors import DamagedError, StoreError
from trainer.store.files import write_record
from trainer.store.metrics import MetricsWriter, open_or_replace
from trainer.store.pending import CUT, PendingRows
from trainer.store.records import State, now
from trainer.store.space import NO_SPACE, reason
from trainer.store.trouble import TroubleFile, meanwhile_words, over_words, unwritten_words
from trainer.store.workspace import RunPaths

log = logging.getLogger(__name__)

PEN = "recorder"
"""The name of the thread that writes."""

FLUSH_SECONDS = 0.4
HEARTBEAT_SECONDS = 1.0
CLOSING_SECONDS = 30.0
ROWS_A_WRITE = 1000
MOST_ROWS_KEPT = 100_000
"""About 100 MB. Past it readings of the machine are given up, then training waits."""


class Recorder:
    """Collects changes of state and rows of metrics, and writes them from its own thread."""

    def __init__(
        self,
        paths: RunPaths,
        state: State,
        *,
        on_tick: Callable[[Recorder], None] | None = None,
    ) -> None:
        """Start writing.

        Args:
            on_tick: called with the recorder, in its thread and before it writes, about every
                half second.

        Raises:
            NewerStoreError: the metrics were written by a newer version.
            OSError, sqlite3.Error: the folder cannot be written.
        """
        self._paths = paths
        self._state = state
        self._pending = PendingRows()
        self._changes, self._changes_written = 1, 0
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._on_tick = on_tick
        self._failed_ticks = 0
        self._unwritten: dict[str, str] = {}
        self._waiting = False
        self._ending: str | None = None
        self._troubles: dict[str, str] = {}
        self._trouble_told = False
        self._trouble_file = TroubleFile(paths.trouble)
        self._writer: MetricsWriter | None = self._opened()
        self._sitting: dict[str, Any] = self._begin_sitting(self._writer)
        self._state_written_at = 0.0
        self._thread = threading.Thread(target=self._run, name=PEN, daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ what the loop calls

    @property
    def state(self) -> State:
        """A copy of the state as it stands."""
        with self._lock:
            return msgspec.structs.replace(self._state)

    def update(self, **changes: Any) -> None:
        """Change fields of the state; they are written at the next flush."""
        with self._lock:
            self._state = msgspec.structs.replace(self._state, **changes, updated_at=now())
            self._changes += 1

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Queue one row of the metrics database; wait where no more can be kept."""
        self._pending.add(table, row)
        if len(self._pending) > MOST_ROWS_KEPT and threading.current_thread() is not self._thread:
            self._make_room()

    def event(self, kind: str, message: str, level: str = "info", step: int | None = None) -> None:
        """Record that something happened, in the log and in the database."""
        log.log(logging.WARNING if level != "info" else logging.INFO, message)
        self.add(
            "events",
            {"at": now(), "step": step, "kind": kind, "level": level, "message": message},
        )

    def notice(
        self, message: str, *, kind: str = "notice", level: str = "info", step: int | None = None
    ) -> None:
        """Tell people for good: word it so that it is still true when the run has ended.

        Args:
            level: ``info`` is shown among the state's notices, anything else as a warning.
        """
        field = "notices" if level == "info" else "warnings"
        told: list[str] = getattr(self.state, field)
        if message not in told:
            self.update(**{field: [*told, message]})
            self.event(kind, message, level, step)

    def trouble(self, source: str, message: str | None) -> None:
        """Tell every viewer what is in the way, or with None that it is over.

        Args:
            source: who says so; each has one message at a time.
        """
        with self._lock:
            before = self._troubles.pop(source, None)
            if message is not None:
                self._troubles[source] = message
        if before == message:
            return
        self._wake.set()
        if message is None and before is not None:
            self.event("trouble", over_words(before, self._troubles))
        elif message is not None and before is None:
            self.event("trouble", message, level="warning")

    def unwritten(self, file: str, why: str | None) -> None:
        """Tell that a file of the run cannot be written, or with None that it can."""
        if why is None:
            self._unwritten.pop(file, None)
        else:
            self._unwritten[file] = why

    def cut_after(self, step: int, *, evaluated: bool = True) -> None:
        """Forget the metrics past ``step``: a resumed run writes them anew.

        Args:
            evaluated: the evaluation after ``step`` itself is not to be repeated.
        """
        self.add(CUT, {"step": step, "evaluated": evaluated})
        if "from_step" not in self._sitting:
            self._sitting["from_step"] = step
            self.add("sittings", dict(self._sitting))

    def flush(self, patience_seconds: float = 10.0) -> bool:
        """Wait until everything handed over before this call is on disk.

        Returns False when patience ran out, or at once when the disk has refused it.
        """
        with self._lock:
            rows, changes, failed = self._pending.added, self._changes, self._failed_ticks
        deadline = time.monotonic() + patience_seconds
        while not self._written(rows, changes):
            if time.monotonic() >= deadline or not self._thread.is_alive():
                return False
            if self._failed_ticks > failed + 1:  # The one after next began after this call.
                return False
            self._wake.set()
            time.sleep(0.01)
        return True

    def close(self, **changes: Any) -> None:
        """Write what is left, close the database, and only then say how the run ended.

        Whoever reads the last state finds everything else in place. A run that is complete waits
        for space until it has some or is asked to stop; any other tries for half a minute, and
        shows as interrupted when it could not say goodbye.
        """
        self._ending = changes.get("status")
        complete = self._ending == "completed"
        self.update(eta_seconds=None)
        self._end_sitting(self._ending)
        self._until(self.flush, patient=complete)
        self._ended.set()
        self._wake.set()
        self._thread.join(timeout=CLOSING_SECONDS)
        if self._writer is not None:
            self._writer.close()
        self.update(**changes)
        self._until(self._write_last_state, patient=complete)
        self._trouble_file.remove()

    def end_elsewhere(self, paths: RunPaths, **changes: Any) -> None:
        """Write how the run ended into the folder where it is now; only from ``on_tick``.

        The database is written through the files that are open, wherever they are.
        """
        with contextlib.suppress(OSError, sqlite3.Error, StoreError):
            if self._writer is not None:
                self._write_pending(self._writer)
        with contextlib.suppress(OSError):
            write_record(paths.state, msgspec.structs.replace(self.state, **changes))
            paths.trouble.unlink(missing_ok=True)

    # ------------------------------------------------------------------ the writing thread

    def _written(self, rows: int, changes: int) -> bool:
        with self._lock:
            return self._pending.settled >= rows and self._changes_written >= changes

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            if self._on_tick is not None:
                self._on_tick(self)
            with self._flushing:
                # Each is tried even when the other fails: they may lie on the same full disk.
                rows_written = self._attempt(self._paths.metrics.name, self._write_rows)
                state_written = self._attempt(self._paths.state.name, self._write_state)
                self._failed_ticks += not (rows_written and state_written)
            self._tell_trouble()

    def _attempt(self, file: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except (OSError, sqlite3.Error) as error:
            self.unwritten(file, reason(error))
            return False
        except StoreError as error:
            self.unwritten(file, error.message.rstrip("."))
            return False
        self.unwritten(file, None)
        return True

    def _write_rows(self) -> None:
        if self._writer is None:
            self._writer = self._opened()
        elif not self._writer.is_in_place and self._paths.folder.is_dir():
            self._writer = self._writer.written_again()
            self.event(
                "metrics",
                "metrics.sqlite3 was removed or replaced while the run trained: it was written "
                "again, with all that was in it.",
                level="warning",
            )
        try:
            self._write_pending(self._writer)
        except DamagedError:
            self._writer.close()
            self._writer = None
            self._writer = self._opened()
            self._write_pending(self._writer)
            self._tell_missing(self._writer)

    def _write_pending(self, writer: MetricsWriter) -> None:
        while True:
            rows, count = self._pending.first(ROWS_A_WRITE)
            if not count:
                return
            if rows and rows[0][0] == CUT:
                self._cut(writer, **rows[0][1])
            else:
                writer.write(rows)
            self._pending.settle(count)

    def _cut(self, writer: MetricsWriter, step: int, evaluated: bool) -> None:
        """Forget what is past a step, and say which steps before it have lost their points."""
        if writer.cut_after(step, evaluated=evaluated) < step:
            self._tell_missing(writer, step)

    def _tell_missing(self, writer: MetricsWriter, last: int | None = None) -> None:
        gaps = writer.missing_steps(last)
        if gaps:
            self.notice(
                f"No points are left of {formats.steps(gaps)}: the charts have a gap there. "
                "Training itself lost nothing.",
                kind="metrics",
                level="error",
                step=last,
            )

    def _write_state(self) -> None:
        due = time.monotonic() - self._state_written_at >= HEARTBEAT_SECONDS
        with self._lock:
            if self._changes == self._changes_written and not due:
                return
            self._state = msgspec.structs.replace(
                self._state, heartbeat_at=now(), heartbeat_uptime_seconds=time.monotonic()
            )
            state, changes = self._state, self._changes
        write_record(self._paths.state, state)
        with self._lock:
            self._changes_written = changes
        self._state_written_at = time.monotonic()

    def _opened(self) -> MetricsWriter:
        writer, happened = open_or_replace(self._paths.metrics)
        if happened is not None:
            self.notice(happened, kind="metrics", level="error")
        return writer

    def _tell_trouble(self) -> None:
        """Write what is in the way as long as anything is, and how the run stands meanwhile."""
        meanwhile = meanwhile_words(self.state, waits=self._waiting, ending=self._ending)
        self.trouble("folder", unwritten_words(dict(self._unwritten), meanwhile))
        with self._lock:
            troubles, state = dict(self._troubles), self._state
        if troubles or self._trouble_told:
            # Where not even this can be written, the age of the last heartbeat tells.
            with contextlib.suppress(OSError):
                self._trouble_file.write(troubles, state)
            self._trouble_told = bool(troubles)

    # ------------------------------------------------------------------ room, and the end

    def _make_room(self) -> None:
        """Give up readings of the machine, then wait: a point is never given up."""
        with self._flushing:
            dropped = self._pending.drop_readings()
        while self._is_full():
            self._waiting = True
            time.sleep(FLUSH_SECONDS)
        self._waiting = False
        if dropped:
            self.event(
                "metrics",
                f"{dropped:,} readings of the machine were given up: too much had to be kept.",
                level="warning",
            )

    def _is_full(self) -> bool:
        full = len(self._pending) > MOST_ROWS_KEPT
        return full and self._thread.is_alive() and self.state.status != "stopping"

    def _begin_sitting(self, writer: MetricsWriter) -> dict[str, Any]:
        sitting = {"id": writer.next_sitting(), "pid": os.getpid(), "started_at": now()}
        self._pending.add("sittings", dict(sitting))
        return sitting

    def _end_sitting(self, status: str | None) -> None:
        ended = {"to_step": self.state.step, "ended_at": now(), "ended": status}
        self.add("sittings", {"from_step": 0} | self._sitting | ended)

    def _until(self, written: Callable[[], bool], *, patient: bool) -> None:
        """Try until it is written; a full disk takes patience, anything else half a minute."""
        deadline = time.monotonic() + CLOSING_SECONDS
        while not written():
            waits = patient and self.state.status != "stopping"
            waits = waits and set(self._unwritten.values()) == {NO_SPACE}
            if time.monotonic() >= deadline and not waits:
                return
            time.sleep(FLUSH_SECONDS)

    def _write_last_state(self) -> bool:
        """Try once, in the place of the thread that has ended."""
        done = self._attempt(self._paths.state.name, self._write_state)
        if not done:
            self._tell_trouble()
            if self._on_tick is not None:
                self._on_tick(self)
        return done
