"""The worker's pen: one thread that writes the run's state and metrics, at least twice a second.

The training loop hands over what it has and goes on at once. What cannot be written (no space
left) is kept and tried again, so a full disk loses no point.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from trainer.store.files import write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.records import State, now
from trainer.store.workspace import RunPaths

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.4
HEARTBEAT_SECONDS = 1.0
CLOSING_SECONDS = 30.0


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
            on_tick: called with the recorder, in its thread, about every half second.

        Raises:
            StoreError: the metrics were written by a newer version.
            sqlite3.Error: the database cannot be opened.
        """
        self._paths = paths
        self._state = state
        self._rows: deque[tuple[str, dict[str, Any]]] = deque()
        self._changed = True
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._on_tick = on_tick
        self._writer = MetricsWriter(paths.metrics)
        self._trouble: str | None = None
        self._state_written_at = 0.0
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
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
            self._changed = True

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Queue one row of the metrics database."""
        self._rows.append((table, row))

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
        """Tell people something that stays true for the whole run."""
        state = self.state
        if message not in state.notices:
            self.update(notices=[*state.notices, message])
            self.event(kind, message, level, step)

    def cut_after(self, step: int) -> None:
        """Forget the metrics past ``step``: a resumed run writes them anew."""
        with self._flushing:
            self._writer.cut_after(step)

    def flush(self, patience_seconds: float = 10.0) -> None:
        """Wait until everything handed over so far is on disk, or patience runs out."""
        deadline = time.monotonic() + patience_seconds
        while self._pending() and time.monotonic() < deadline and self._thread.is_alive():
            self._wake.set()
            time.sleep(0.01)

    def close(self, **changes: Any) -> None:
        """Write what is left, close the database, and only then say how the run ended.

        Whoever reads the last state finds everything else in place. While the disk is full this
        tries for half a minute; a run that could not say goodbye shows as interrupted.
        """
        self.flush()
        self._ended.set()
        self._wake.set()
        self._thread.join(timeout=CLOSING_SECONDS)
        self._writer.close()
        self.update(**changes)
        deadline = time.monotonic() + CLOSING_SECONDS
        while not self._try(self._write_state) and time.monotonic() < deadline:
            time.sleep(FLUSH_SECONDS)

    # ------------------------------------------------------------------ the writing thread

    def _pending(self) -> bool:
        with self._lock:
            return bool(self._rows) or self._changed or self._flushing.locked()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            with self._flushing:
                # The state is tried even when the rows fail: it is how viewers learn of it.
                rows_written = self._try(self._write_rows)
                if self._try(self._write_state) and rows_written:
                    self._trouble = None
            if self._on_tick is not None:
                self._on_tick(self)

    def _try(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except (OSError, sqlite3.Error) as error:
            self._tell_trouble(error)
            return False
        return True

    def _write_rows(self) -> None:
        batch = [self._rows[index] for index in range(len(self._rows))]
        if not batch:
            return
        self._writer.write(batch)
        for _ in batch:
            self._rows.popleft()

    def _write_state(self) -> None:
        due = time.monotonic() - self._state_written_at >= HEARTBEAT_SECONDS
        with self._lock:
            if not (self._changed or due):
                return
            self._state = msgspec.structs.replace(self._state, heartbeat_at=now())
            state, self._changed = self._state, False
        try:
            write_record(self._paths.state, state)
        except OSError:
            self._changed = True
            raise
        self._state_written_at = time.monotonic()

    def _tell_trouble(self, error: Exception) -> None:
        """Say once, not twice a second, that nothing can be written just now."""
        if self._trouble != str(error):
            self._trouble = str(error)
            log.warning("Cannot write to the run folder (%s); kept and tried again.", error)
