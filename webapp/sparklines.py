"""A few values of each run's training loss, for the small curves of the list.

To open a database for each row would hold up the list: a page shows at once what is known, and its
scripts ask for the others in small parts.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from trainer.errors import StoreError
from trainer.runs import Run
from trainer.store.metrics import MetricsReader

POINTS = 44
MOST_KEPT = 4096

Points = tuple[tuple[int, float], ...]


class Sparklines:
    """Remembers the curves that were read last, each for as long as its run stands still."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[str, Points]] = OrderedDict()

    def known(self, run: Run) -> Points | None:
        """Return a run's steps and losses if they need not be read; None: they have to be."""
        if run.state.step is None:
            return ()
        with self._lock:
            written_at, points = self._kept.get(run.run_id, ("", ()))
        return points if written_at == run.state.updated_at else None

    def read(self, run: Run) -> Points:
        """Return a run's steps and losses; nothing of a database that cannot be read."""
        known = self.known(run)
        if known is not None:
            return known
        points = _read(run)
        with self._lock:
            self._kept[run.run_id] = (run.state.updated_at, points)
            self._kept.move_to_end(run.run_id)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return points


def _read(run: Run) -> Points:
    try:
        with MetricsReader(run.paths.metrics) as reader:
            columns = reader.series(["train_loss"], points=POINTS)["series"]["train_loss"]
    except StoreError:
        return ()  # The list is shown without it; the page of the run says why.
    return tuple(zip(columns["step"], columns["value"], strict=True))
