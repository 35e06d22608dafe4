"""A workspace whose workers come from the nursery, and what is expected of a run in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tests.faults.evidence import Evidence
from tests.faults.nursery import Life, Nursery
from tests.faults.victim import Fate
from trainer.config import Config
from trainer.runs import Run, RunStore

PATIENCE_SECONDS = 120.0
UNDISTURBED = Fate()


class Trial:
    """Starts runs that meet their fate, and waits for them.

    ``store`` is an ordinary :class:`RunStore`; ``life`` the worker that was started last.
    """

    def __init__(self, nursery: Nursery, home: Path) -> None:
        self.store = RunStore(home)
        self.folder = home
        self._nursery = nursery
        self.uninterrupted = cache(self._uninterrupted)

    @property
    def life(self) -> Life:
        return self._nursery.lives[-1]

    def create(self, config: Config, fate: Fate = UNDISTURBED) -> str:
        """Start a new run and return its id."""
        self._nursery.fate = fate
        return self.store.create(config)

    def resume(
        self, run_id: str, fate: Fate = UNDISTURBED, *, source: str = "latest", more_epochs: int = 0
    ) -> None:
        """Go on with a run."""
        self._nursery.fate = fate
        self.store.resume(run_id, source=source, more_epochs=more_epochs)

    def ended(self, run_id: str) -> Run:
        """Wait for the run's end, whichever it is."""
        run = self.store.wait(run_id, lambda run: not run.active, PATIENCE_SECONDS)
        assert not run.active, (run.status, self.story(run_id))
        return run

    def completed(self, run_id: str) -> Evidence:
        """Wait for the run's last step and return what it left behind."""
        run = self.ended(run_id)
        assert run.status == "completed", (run.status, run.state.error, self.story(run_id))
        return Evidence.of(run)

    def story(self, run_id: str) -> str:
        return "\n".join(self.store.log_tail(run_id, 30, name="worker"))

    def _uninterrupted(self, config: Config, fate: Fate = UNDISTURBED) -> Evidence:
        """Train without interruption. The result is kept: one stands for all compared with it."""
        return self.completed(self.create(config, fate))
