"""Live values: what is new in the watched runs, pushed over Socket.IO.

The client emits ``watch`` with the cursor of what it has, and gets at once whatever came after
it; from then on only what is new. Every field but ``run_id`` may be left out::

    watch {"run_id", "after_step", "after_evaluation_step", "after_event", "after_sample",
           "after_system", "after_log"}
    unwatch {"run_id"}          without run_id: all runs
    watch_runs {"since"}        changes of the list; since: the time (ISO 8601) of what is shown
    unwatch_runs {}

The server answers each with ``{"ok": true}`` or ``{"error": …}``, and emits

* ``state``: the run as ``GET /api/runs/<id>`` answers it;
* ``metrics {"run_id", "after_step", "last_step", "series": {name: {"step", "value", "min", "max",
  "epoch", "tokens", "elapsed_seconds", "points", "of"}}, "cursor"}``. **What the client holds past
  ``after_step`` is void**: a resumed run goes back to its checkpoint and writes those steps anew;
* ``sample {"run_id", "after_step", "samples": [row], "cursor"}``: likewise void past
  ``after_step``, unless that is null;
* ``system {"run_id", "readings": [row], "cursor"}``, ``event {"run_id", "events": [row],
  "cursor"}`` and ``log {"run_id", "lines": [text], "skipped_bytes", "cursor"}``;
* ``gone {"run_id"}`` when the run was deleted;
* ``runs {"runs": [state], "removed": [run_id]}`` to those who watch the list;
* ``error {"error": {"kind", "message", "hint"}}`` when something was refused or cannot be read.

Every ``cursor`` holds fields of ``watch`` that continue from there. A client that keeps them all
and sends them when it connects again misses nothing and gets nothing twice.

One background thread looks at the files of the watched runs a few times a second and reads only
those that changed. A client that does not keep up is passed over until it has taken what it was
sent: its cursor stays, so it gets more at once later, and its queue is bounded.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from flask_socketio import SocketIO

from trainer.errors import ConflictError, NotFoundError, StoreError, TrainerError
from trainer.formats import parse_time
from trainer.runs import RunStore
from trainer.store.records import ACTIVE
from webapp.deltas import (
    UNREADABLE,
    Cursor,
    Footprint,
    Message,
    Reading,
    Watch,
    new_in_log,
    new_in_metrics,
)
from webapp.errors import InvalidFieldError, error_body, internal_error
from webapp.listing import RunList
from webapp.payloads import converted
from webapp.sockets import MAX_BACKLOG_MESSAGES, Outlet, answer_event

log = logging.getLogger(__name__)

TICK_SECONDS = 0.4
TICKS_A_LIST_LOOK = 3
MAX_RUNS_A_CLIENT = 16


class Unwatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of ``unwatch``."""

    run_id: str | None = None


class WatchRuns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The payload of ``watch_runs``."""

    since: str | None = None


@dataclass
class Watcher:
    """One client that watches one run."""

    client: str
    run_id: str
    cursor: Cursor
    seen: Footprint | None = None
    state: dict[str, Any] | None = None
    trouble: str | None = None

    def at_rest(self, footprint: Footprint) -> bool:
        """Say whether nothing can have changed: an ended run whose files are as they were."""
        ended = self.state is not None and self.state["status"] not in ACTIVE
        return ended and self.seen == footprint


@dataclass
class ListWatcher:
    """One client that watches the list: the runs it has yet to be told of."""

    client: str
    changed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)


class LiveHub:
    """Knows who watches what, and sends each client what is new for it."""

    def __init__(self, store: RunStore, outlet: Outlet, *, background: bool = True) -> None:
        """Make a hub; its thread starts with the first watcher.

        Args:
            background: look at the files from a thread; without, :meth:`tick` must be called.
        """
        self._store = store
        self._outlet = outlet
        self._background = background
        self._watchers: dict[tuple[str, str], Watcher] = {}
        self._list_watchers: dict[str, ListWatcher] = {}
        self._list = RunList(store)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    # ------------------------------------------------------------------ who watches what

    def watch(self, client: str, watch: Watch) -> None:
        """Send a client what it lacks of a run, and what comes from now on.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: the client watches too many runs.
        """
        run_id = self._store.get(watch.run_id).run_id
        self._forget([(client, run_id)])
        if len(self._keys_of(client)) >= MAX_RUNS_A_CLIENT:
            raise ConflictError(f"A page can watch at most {MAX_RUNS_A_CLIENT} runs at once.")
        watcher = Watcher(client, run_id, Cursor.of(watch))
        # A long history is read here, in the client's own thread, and holds nobody else up.
        self._look(run_id, [watcher])
        with self._changed:
            self._watchers[client, run_id] = watcher
        self._awaken()

    def unwatch(self, client: str, run_id: str | None = None) -> None:
        """Send a client no more of one run, or of any."""
        self._forget([(client, run_id)] if run_id else self._keys_of(client))

    def watch_list(self, client: str, since: datetime | None) -> None:
        """Send a client the runs that are active or changed since a time, and every change."""
        watcher = ListWatcher(client, self._list.begin(since))
        with self._changed:
            self._list_watchers[client] = watcher
        self._awaken()

    def unwatch_list(self, client: str) -> None:
        """Send a client no more changes of the list."""
        with self._changed:
            self._list_watchers.pop(client, None)

    def forget(self, client: str) -> None:
        """Drop a client that has left."""
        self.unwatch(client)
        self.unwatch_list(client)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _keys_of(self, client: str) -> list[tuple[str, str]]:
        with self._changed:
            return [key for key in self._watchers if key[0] == client]

    def _forget(self, keys: Iterable[tuple[str, str]]) -> None:
        with self._changed:
            for key in keys:
                self._watchers.pop(key, None)

    # ------------------------------------------------------------------ the thread

    def _awaken(self) -> None:
        with self._changed:
            if self._background and self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        ticks = 0
        while self._wait_for_watchers():
            self.tick_runs()
            if ticks % TICKS_A_LIST_LOOK == 0:
                self.tick_list()
            ticks += 1
            with self._changed:
                self._changed.wait_for(lambda: self._closed, TICK_SECONDS)

    def _wait_for_watchers(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._watchers or self._list_watchers)
            return not self._closed

    def tick(self) -> None:
        """Look once at everything that is watched."""
        self.tick_runs()
        self.tick_list()

    def tick_runs(self) -> None:
        """Send what is new in the watched runs to those who have taken what they were sent."""
        with self._changed:
            everyone = list(self._watchers.values())
        by_run: dict[str, list[Watcher]] = defaultdict(list)
        for watcher in everyone:
            if self._is_ready(watcher.client):
                by_run[watcher.run_id].append(watcher)
        for run_id, watchers in by_run.items():
            self._look(run_id, watchers)

    def _is_ready(self, client: str) -> bool:
        backlog = self._outlet.backlog(client)
        if backlog is None:
            self.forget(client)
            return False
        return backlog <= MAX_BACKLOG_MESSAGES

    def _look(self, run_id: str, watchers: list[Watcher]) -> None:
        footprint = Footprint.of(self._store.workspace.paths(run_id))
        if all(watcher.at_rest(footprint) for watcher in watchers):
            return
        try:
            with Reading(self._store.inspect(run_id)) as reading:
                for watcher in watchers:
                    self._tell(watcher, reading, footprint)
        except NotFoundError:
            for watcher in watchers:
                self._outlet.emit("gone", {"run_id": run_id}, watcher.client)
                self._forget([(watcher.client, run_id)])
        except UNREADABLE as error:
            for watcher in watchers:
                self._tell_trouble(watcher, error)

    def _tell(self, watcher: Watcher, reading: Reading, footprint: Footprint) -> None:
        seen = watcher.seen
        messages: list[Message] = []
        cursor, trouble = watcher.cursor, None
        if seen is None or seen.metrics != footprint.metrics:
            first = watcher.state is None
            try:
                messages, cursor = new_in_metrics(reading, cursor, first)
            except StoreError as error:
                trouble = error  # The rest of the run is told all the same.
        if seen is None or seen.log != footprint.log:
            lines, cursor = new_in_log(reading, cursor)
            messages += lines
        if reading.state != watcher.state:
            self._outlet.emit("state", reading.state, watcher.client)
        for event, data in messages:
            self._outlet.emit(event, {"run_id": watcher.run_id, **data}, watcher.client)
        watcher.cursor, watcher.state = cursor, reading.state
        if trouble is None:
            watcher.trouble = None
        else:
            self._tell_trouble(watcher, trouble)
        watcher.seen = footprint if footprint.settled else None

    def _tell_trouble(self, watcher: Watcher, error: Exception) -> None:
        """Say once, not at every look, that a run cannot be read."""
        if watcher.trouble == str(error):
            return
        watcher.trouble = str(error)
        told = error if isinstance(error, TrainerError) else internal_error()
        log.warning("Run %s cannot be read: %s", watcher.run_id, error)
        self._outlet.emit("error", {"run_id": watcher.run_id, **error_body(told)}, watcher.client)

    def tick_list(self) -> None:
        """Send the changes of the list to those who watch it."""
        with self._changed:
            watchers = list(self._list_watchers.values())
        if not watchers:
            return
        try:
            changed, removed = self._list.look()
        except OSError as error:
            log.warning("The runs cannot be listed: %s", error)
            return
        states: dict[str, dict[str, Any]] = {}
        for watcher in watchers:
            watcher.changed = (watcher.changed | changed) - removed
            watcher.removed = (watcher.removed | removed) - changed
            if (watcher.changed or watcher.removed) and self._is_ready(watcher.client):
                self._tell_list(watcher, states)

    def _tell_list(self, watcher: ListWatcher, states: dict[str, dict[str, Any]]) -> None:
        for run_id in watcher.changed - states.keys():
            state = self._list.state(run_id)
            if state is not None:
                states[run_id] = state
        told = [states[run_id] for run_id in sorted(watcher.changed & states.keys())]
        data = {"runs": told, "removed": sorted(watcher.removed)}
        watcher.changed, watcher.removed = set(), set()
        if told or data["removed"]:
            self._outlet.emit("runs", data, watcher.client)


# ---------------------------------------------------------------------- the events of clients


def register(socketio: SocketIO, hub: LiveHub, outlet: Outlet) -> None:
    """Install the handlers of ``watch`` and its kin."""

    def watch(client: str, payload: Any) -> None:
        hub.watch(client, converted(payload, Watch))

    def unwatch(client: str, payload: Any) -> None:
        hub.unwatch(client, converted(payload, Unwatch).run_id)

    def watch_runs(client: str, payload: Any) -> None:
        hub.watch_list(client, _time(converted(payload, WatchRuns).since))

    def unwatch_runs(client: str, _payload: Any) -> None:
        hub.unwatch_list(client)

    def refuse(client: str, _payload: Any, error: TrainerError) -> None:
        outlet.emit("error", error_body(error), client)

    for handler in (watch, unwatch, watch_runs, unwatch_runs):
        answer_event(socketio, handler.__name__, handler, refuse)


def _time(since: str | None) -> datetime | None:
    if since is None:
        return None
    try:
        return parse_time(since)
    except ValueError as error:
        raise InvalidFieldError(
            f"'since' = '{since[:40]}' is not a time.", "Write it as 2026-01-02T03:04:05Z."
        ) from error
