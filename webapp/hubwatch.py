"""Whether the Hugging Face hub answers, asked in the background: no page waits long for it."""

from __future__ import annotations

import threading
import time

from trainer import datasource

KEPT_SECONDS = 60.0
WAITED_SECONDS = 0.2
"""How long the first question waits: enough for a computer without a network to find out."""


class HubWatch:
    """What the hub answered last; asked again when somebody wants to know and that is old."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answered = threading.Event()
        self._ask_after = 0.0
        self._reason = ""

    def silence(self) -> str:
        """Say why the hub cannot be reached, as far as is known; empty when it can."""
        with self._lock:
            if time.monotonic() >= self._ask_after:
                self._ask_after = time.monotonic() + KEPT_SECONDS
                threading.Thread(target=self._ask, daemon=True).start()
        self._answered.wait(WAITED_SECONDS)
        return self._reason

    def _ask(self) -> None:
        _, self._reason = datasource.hub_answers()
        self._answered.set()
