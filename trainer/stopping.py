"""How a run is asked to end: a durable request in its folder, or a signal to its process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class StopRequested(BaseException):
    """Ends a long step of the preparation at once. Not an Exception: no library may swallow it."""


class StopFlag:
    """Set when someone asks the run to end; the training loop looks at it after every step."""

    def __init__(self, request: Path) -> None:
        self._request = request
        self._abandon = False
        self.requested = request.exists()

    def listen(self) -> None:
        """Treat SIGTERM and SIGINT as requests to save and end."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if self._abandon:
            raise StopRequested

    def poll(self) -> None:
        """Look for the request file; called from another thread twice a second."""
        if not self.requested and self._request.exists():
            # The signal reaches the main thread, which alone may abandon a step.
            os.kill(os.getpid(), signal.SIGTERM)

    @contextmanager
    def abandoning(self) -> Iterator[None]:
        """Within this block nothing is worth saving yet: a request ends it by StopRequested."""
        self._abandon = True
        try:
            if self.requested:
                raise StopRequested
            yield
        finally:
            self._abandon = False
