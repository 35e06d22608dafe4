"""The thread that looks at the store for the screen, so that the screen never waits for a disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from textual.message import Message

from trainer.errors import NotFoundError, StoreError, TrainerError
from trainer.runs import Run, RunStore
from trainer.tui.watching import Glimpse, Listing, StoreWatch, read_listing

INTERVAL_SECONDS = 0.7
SETTLE_SECONDS = 0.05
"""A cursor that runs over many rows asks for the run that it comes to rest on."""


class RunsListed(Message):
    """The list of runs was read."""

    def __init__(self, listing: Listing) -> None:
        super().__init__()
        self.listing = listing


class RunSeen(Message):
    """The watched run was looked at."""

    def __init__(self, glimpse: Glimpse) -> None:
        super().__init__()
        self.glimpse = glimpse


class RunVanished(Message):
    """The watched run is gone."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id


class StoreUnreadable(Message):
    """The store itself could not be read."""

    def __init__(self, error: TrainerError) -> None:
        super().__init__()
        self.error = error


class Poller:
    """Reads what is asked for, about every second, and posts it."""

    def __init__(self, store: RunStore, post: Callable[[Message], object]) -> None:
        self._store = store
        self._post = post
        self._watch = StoreWatch(store)
        self._reference_watch = StoreWatch(store)
        self._reference_id: str | None = None
        self._listing = Listing(())
        self._run_id: str | None = None
        self._listing_due_at = 0.0
        self._wake = threading.Event()
        self._ended = threading.Event()

    def watch(self, run_id: str | None) -> None:
        """Look at another run, at once."""
        self._run_id = run_id
        self._wake.set()

    def compare(self, run_id: str | None) -> None:
        """Look at a run beside the watched one, or at none."""
        self._reference_id = run_id
        self._wake.set()

    def hurry(self) -> None:
        """Read everything now: something has changed."""
        self._listing_due_at = 0.0
        self._wake.set()

    def stop(self) -> None:
        """End after the look under way."""
        self._ended.set()
        self._wake.set()

    def run(self) -> None:
        """Read until stopped."""
        while not self._ended.is_set():
            began_at = time.monotonic()
            self._look()
            took_seconds = time.monotonic() - began_at
            # A slow disk or very many runs must not keep a whole core busy.
            self._wake.wait(max(INTERVAL_SECONDS - took_seconds, 4 * took_seconds))
            if self._wake.is_set():
                self._ended.wait(SETTLE_SECONDS)
                self._wake.clear()

    def _look(self) -> None:
        # The list may make the screen choose another run: this one is looked at all the same,
        # or nobody would learn that it was deleted.
        run_id = self._run_id
        try:
            if time.monotonic() >= self._listing_due_at:
                self._listing_due_at = time.monotonic() + INTERVAL_SECONDS / 2
                self._listing = read_listing(self._store)
                self._post(RunsListed(self._listing))
            if run_id is not None:
                self._look_at_run(run_id)
        except TrainerError as error:
            self._post(StoreUnreadable(error))
        except OSError as error:
            self._post(StoreUnreadable(_unreadable(error)))

    def _look_at_run(self, run_id: str) -> None:
        try:
            glimpse = self._watch.look(run_id)
            self._post(RunSeen(replace(glimpse, reference=self._reference(run_id))))
        except NotFoundError:
            if self._run_id == run_id:
                self._run_id = None
            self._post(RunVanished(run_id))
        except StoreError as error:
            listed = self._listed(run_id)
            if listed is not None:
                self._post(RunSeen(Glimpse(listed, trouble=str(error))))

    def _reference(self, shown_id: str) -> Glimpse | None:
        if self._reference_id is None or self._reference_id == shown_id:
            return None
        try:
            return self._reference_watch.look(self._reference_id)
        except (NotFoundError, StoreError):
            return None

    def _listed(self, run_id: str) -> Run | None:
        return next((run for run in self._listing.runs if run.run_id == run_id), None)


def _unreadable(error: OSError) -> StoreError:
    return StoreError(
        f"The run folder cannot be read: {error}.", "Check the folder and its permissions."
    )
