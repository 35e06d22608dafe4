"""Work that must not hold up the thread that writes: done in another, and gone on with in this."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from trainer.errors import TrainerError
from trainer.inference.service.attempts import attempt
from trainer.inference.service.messages import Finished, Inbox

T = TypeVar("T")


class Aside:
    """Calls things in threads of their own.

    Args:
        inbox: of the thread that goes on with what comes of it.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def run(self, call: Callable[[], T], then: Callable[[T | TrainerError], None]) -> None:
        """Call something, and ``then`` with its result or with what a client is told."""
        threading.Thread(target=self._run, args=(call, then), daemon=True).start()

    def _run(self, call: Callable[[], T], then: Callable[[T | TrainerError], None]) -> None:
        self._inbox.put(Finished(partial(then, attempt(call))))
