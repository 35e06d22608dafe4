"""Log lines of a worker: what a full disk refuses is counted, and told when there is space."""

from __future__ import annotations

import logging
import os
import time

from trainer.store.space import NO_SPACE, reason


class LineHandler(logging.Handler):
    """Writes whole lines to an open file and never raises.

    ``problem`` says why the last line could not be written, or is None.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
        formatter.converter = time.gmtime
        formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
        self.setFormatter(formatter)
        self.problem: str | None = None
        self._descriptor = descriptor
        self._lost_lines = 0
        self._torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, after word of those that were lost before it."""
        if not (self._told_losses() and self._written(self.format(record))):
            self._lost_lines += 1

    def retry(self) -> None:
        """Where lines were lost, try whether there is space to say so now."""
        self.acquire()
        try:
            self._told_losses()
        finally:
            self.release()

    def _told_losses(self) -> bool:
        if not self._lost_lines:
            return True
        lines = "1 line" if self._lost_lines == 1 else f"{self._lost_lines:,} lines"
        words = f"{lines} of this log could not be written: {self.problem}."
        told = logging.makeLogRecord({"levelno": 30, "levelname": "WARNING", "msg": words})
        if not self._written(self.format(told)):
            return False
        self._lost_lines = 0
        return True

    def _written(self, line: str) -> bool:
        content = f"{line}\n".encode("utf-8", "backslashreplace")
        # A line that was cut off is ended first.
        content = b"\n" + content if self._torn else content
        try:
            count = os.write(self._descriptor, content)
        except OSError as error:
            self.problem = reason(error)
            return False
        self._torn = count < len(content)
        self.problem = NO_SPACE if self._torn else None
        return not self._torn
