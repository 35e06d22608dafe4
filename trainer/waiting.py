"""How a run waits for its device, in its own worker process and before torch is imported.

No viewer and no daemon takes part: the worker looks at the queue twice a second and goes on by
itself when its turn has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from trainer import formats
from trainer.errors import StoreError
from trainer.queueing import queued_state
from trainer.store.queue import Place
from trainer.store.recorder import Recorder
from trainer.store.workspace import RunPaths, Workspace

POLL_SECONDS = 0.4


class Turn:
    """Waits for the turn of one run, and tells every viewer where it stands."""

    def __init__(
        self,
        place: Place,
        recorder: Recorder,
        workspace: Workspace,
        paths: RunPaths,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._place = place
        self._recorder = recorder
        self._workspace = workspace
        self._paths = paths
        self._sleep = sleep
        self._trouble: str | None = None

    def wait(self) -> str:
        """Return the key of the device that the run has, once its turn has come."""
        started_at = time.monotonic()
        waited = False
        while not self._has_come():
            if not waited:
                self._recorder.event("queued", f"Queued: {self._recorder.state.phase}.")
            waited = True
            self._sleep(POLL_SECONDS)
        if waited:
            took = formats.duration(time.monotonic() - started_at)
            self._recorder.event("started", f"Its turn has come after {took}.")
        self._recorder.update(status="preparing", phase="starting", queue=None)
        if waited:
            self._recorder.flush()
        return str(self._place.record.training_on)

    def follow(self, device: str, words: str) -> None:
        """Wait for the device that training really uses, where it is not the one waited for."""
        if device == self._place.record.training_on:
            return
        self._recorder.event("queue", f"It trains on {words}, not on {self._place.record.wanted}.")
        self._place.move(device, words)
        self.wait()

    def _has_come(self) -> bool:
        """Look once. What keeps the queue from being read or written only makes the wait longer."""
        try:
            standing = self._place.take_turn(anyway=self._paths.start_request.exists())
        except (OSError, StoreError) as error:
            self._tell_trouble(error)
            return False
        if standing is not None:
            self._tell(queued_state(standing, self._workspace))
        return standing is None

    def _tell(self, fields: dict[str, Any]) -> None:
        state = self._recorder.state
        if any(getattr(state, name) != value for name, value in fields.items()):
            self._recorder.update(**fields)

    def _tell_trouble(self, error: OSError | StoreError) -> None:
        """Say once, not twice a second, that the queue cannot be used just now."""
        if self._trouble != str(error):
            self._trouble = str(error)
            self._recorder.update(status="queued", phase="waiting for the queue")
            self._recorder.event(
                "queue", f"The queue cannot be used just now: {error}", level="warning"
            )
