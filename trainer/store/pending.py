"""Rows on their way into the metrics database: kept in order until they are written."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

Row = tuple[str, dict[str, Any]]

CUT = "cut"
"""In place of a table: forget the metrics past the row's ``step`` before what follows."""


class PendingRows:
    """A queue that any thread adds to and one thread takes from."""

    def __init__(self) -> None:
        self._rows: deque[Row | None] = deque()
        self._lock = threading.Lock()
        self._readings = 0
        self._gaps = 0
        self.added = 0
        self.settled = 0

    def __len__(self) -> int:
        return len(self._rows) - self._gaps

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Put a row at the end."""
        with self._lock:
            self._rows.append((table, row))
            self._readings += table == "system"
            self.added += 1

    def first(self, most: int) -> tuple[list[Row], int]:
        """Return the rows that can be written together, a cut alone, and their count to settle."""
        with self._lock:
            count = min(most, len(self._rows))
            for index in range(count):
                row = self._rows[index]
                if row is not None and row[0] == CUT:
                    count = index or 1
                    break
            rows = [self._rows[index] for index in range(count)]
        return [row for row in rows if row is not None], count

    def settle(self, count: int) -> None:
        """Forget the first rows: they are written."""
        with self._lock:
            for _ in range(count):
                row = self._rows.popleft()
                self._gaps -= row is None
                self._readings -= row is not None and row[0] == "system"
            self.settled += count

    def drop_readings(self) -> int:
        """Give up the readings of the machine, and return how many; not while rows are written."""
        with self._lock:
            dropped = self._readings
            if dropped:
                kept = (None if row and row[0] == "system" else row for row in self._rows)
                self._rows = deque(kept)
                self._gaps += dropped
                self._readings = 0
        return dropped
