"""Live values: what is new in the watched runs, pushed over Socket.IO.

The client emits ``watch`` with the cursor of what it has, and gets at once whatever came after
it; from then on only what is new. Every field but ``run_id`` may be left out::

    watch {"run_id", "after_step", "after_evaluation_step", "after_event", "after_sample",
           "after_system", "after_log", "only"}
    unwatch {"run_id"}          without run_id: all runs
    watch_runs {"since"}        changes of the list; since: the time (ISO 8601) of what is shown
    unwatch_runs {}

``"only": "metrics"`` is for a page that draws curves: it gets ``state`` and ``metrics``.
``"only": "state"`` is for one that nobody looks at: it gets ``state`` alone, at once and then every
five seconds where it changed, for its title. A further ``watch`` of the run without it, with the
cursor that the page has kept, goes on where it stood.

The server answers each with ``{"ok": true}`` or ``{"error": …}``, and emits

* ``state``: the run as ``GET /api/runs/<id>`` answers it;
* ``metrics {"run_id", "after_step", "last_step", "series": {name: {"step", "value", "min", "max",
  "epoch", "tokens", "elapsed_seconds", "points", "of"}}, "cursor"}``. **What the client holds past
  ``after_step`` is void**: a resumed run goes back to its checkpoint and writes those steps anew;
* ``sample {"run_id", "after_step", "samples": [row], "cursor"}``: likewise void past
  ``after_step``, unless that is null;
* ``system {"run_id", "after_id", "series": {field: {"id", "value", "min", "max",
  "elapsed_seconds", "points", "of"}}, "cursor"}``, the readings of the machine past one;
* ``event {"run_id", "events": [row], "cursor"}`` and ``log {"run_id", "lines": [text],
  "skipped_bytes", "cursor"}``;
* ``gone {"run_id"}`` when the run was deleted, or is not there when it is to be watched;
* ``runs {"runs": [state], "removed": [run_id]}`` to those who watch the list;
* ``error {"error": {"kind", "message", "hint"}}`` when something was refused or cannot be read.

Every ``cursor`` holds fields of ``watch`` that continue from there. A client that keeps them all
and sends them when it connects again misses nothing and gets nothing twice; one that stands far
behind gets what it lacks in buckets.

One background thread looks at the time stamps of the watched runs' files ten times a second and
reads what changed, once for all clients that stand at the same place; what it sends them is
written once, too. A client that does not keep up is passed over until it has taken what it was
sent: its cursor stays, so it gets more at once later, and its queue is bounded.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeVar

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
    new_in_curves,
    new_in_log,
    new_in_metrics,
)
from webapp.errors import InvalidFieldError, error_body, internal_error
from webapp.listing import RunList
from webapp.payloads import converted
from webapp.sockets import MAX_BACKLOG_MESSAGES, Outlet, answer_event

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

TICK_SECONDS = 0.4
GLANCES_A_TICK = 4
"""How often a tick the time stamps are looked at, so that news waits for no tick."""

TICKS_A_LIST_LOOK = 3
TICKS_A_STATE_LOOK = 12
"""How many ticks pass between two looks for those who watch the state alone."""
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
    only: Literal["state", "metrics"] | None = None
    seen: Footprint | None = None
    state: dict[str, Any] | None = None
    trouble: str | None = None

    @property
    def place(self) -> Hashable:
        """What decides what it is sent: clients at one place get the same."""
        return self.cursor, self.only, self.seen, id(self.state), self.trouble

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
        self._ticks = 0
        self._glanced: dict[str, Footprint] = {}
        self._early: dict[str, int] = {}
        self._beats = 0
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
        try:
            run_id = self._store.get(watch.run_id).run_id
        except NotFoundError:
            # A page that comes back may show a run that was deleted while it was away.
            self._outlet.emit("gone", {"run_id": watch.run_id}, client)
            raise
        self._forget([(client, run_id)])
        if len(self._keys_of(client)) >= MAX_RUNS_A_CLIENT:
            raise ConflictError(f"A page can watch at most {MAX_RUNS_A_CLIENT} runs at once.")
        watcher = Watcher(client, run_id, Cursor.of(watch), only=watch.only)
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
        while self._wait_for_watchers():
            if self._beats % GLANCES_A_TICK:
                self.glance()
            else:
                self.tick_runs()
                if self._ticks % TICKS_A_LIST_LOOK == 0:
                    self.tick_list()
            with self._changed:
                self._changed.wait_for(lambda: self._closed, TICK_SECONDS / GLANCES_A_TICK)

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
        self._ticks += 1
        self._beats += 1
        states_too = self._ticks % TICKS_A_STATE_LOOK == 0
        watched = self._watched(states_too=states_too)
        for run_id, watchers in watched.items():
            if states_too or self._has_news(run_id) or self._rested(run_id) >= GLANCES_A_TICK:
                self._look_for(run_id, watchers)
        for run_id in self._glanced.keys() - watched.keys():
            del self._glanced[run_id]
            self._early.pop(run_id, None)

    def glance(self) -> None:
        """Look at once where a time stamp shows news; the next tick need not look there again."""
        self._beats += 1
        for run_id, watchers in self._watched().items():
            # What the worker writes together may come in two parts: the second can wait a little.
            if self._rested(run_id) > 1 and self._has_news(run_id):
                self._early[run_id] = self._beats
                self._look_for(run_id, watchers)

    def _rested(self, run_id: str) -> int:
        """Return how many beats ago a glance led to a look; many when none did."""
        return self._beats - self._early.get(run_id, -GLANCES_A_TICK)

    def _has_news(self, run_id: str) -> bool:
        return self._glanced.get(run_id) != self._glance_at(run_id)

    def _glance_at(self, run_id: str) -> Footprint:
        return replace(Footprint.of(self._store.workspace.paths(run_id)), settled=True)

    def _watched(self, *, states_too: bool = False) -> dict[str, list[Watcher]]:
        with self._changed:
            everyone = list(self._watchers.values())
        due = [watcher for watcher in everyone if states_too or watcher.only != "state"]
        return _grouped(due, lambda watcher: watcher.run_id)

    def _look_for(self, run_id: str, watchers: list[Watcher]) -> None:
        """Look for those who have taken what they were sent."""
        self._glanced[run_id] = self._glance_at(run_id)
        self._look(run_id, [watcher for watcher in watchers if self._is_ready(watcher.client)])

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
                for alike in _grouped(watchers, lambda watcher: watcher.place).values():
                    self._tell(alike, reading, footprint)
        except NotFoundError:
            self._outlet.emit("gone", {"run_id": run_id}, *_clients(watchers))
            self._forget([(watcher.client, run_id) for watcher in watchers])
        except UNREADABLE as error:
            self._tell_trouble(watchers, error)

    def _tell(self, alike: list[Watcher], reading: Reading, footprint: Footprint) -> None:
        """Send what is new to clients that stand at the same place."""
        one, clients = alike[0], _clients(alike)
        messages, cursor, trouble = _news(one, reading, footprint)
        if reading.state != one.state:
            self._outlet.emit("state", reading.state, *clients)
        for event, data in messages:
            self._outlet.emit(event, {"run_id": one.run_id, **data}, *clients)
        for watcher in alike:
            watcher.cursor, watcher.state = cursor, reading.state
            watcher.seen = footprint if footprint.settled else None
        self._tell_trouble(alike, trouble)

    def _tell_trouble(self, watchers: list[Watcher], error: Exception | None) -> None:
        """Say once, not at every look, that a run cannot be read; None: that it can."""
        words = None if error is None else str(error)
        told = [watcher for watcher in watchers if watcher.trouble != words]
        for watcher in told:
            watcher.trouble = words
        if error is None or not told:
            return
        run_id = told[0].run_id
        log.warning("Run %s cannot be read: %s", run_id, error)
        body = error_body(error if isinstance(error, TrainerError) else internal_error())
        self._outlet.emit("error", {"run_id": run_id, **body}, *_clients(told))

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


def _news(
    watcher: Watcher, reading: Reading, footprint: Footprint
) -> tuple[list[Message], Cursor, StoreError | None]:
    """Return what to send a client besides the state, its cursor then, and what cannot be read."""
    seen, cursor = watcher.seen, watcher.cursor
    messages: list[Message] = []
    trouble = None
    if watcher.only == "state":
        return messages, cursor, trouble
    new = new_in_curves if watcher.only else new_in_metrics
    if seen is None or seen.metrics != footprint.metrics:
        try:
            messages, cursor = new(reading, cursor, watcher.state is None)
        except StoreError as error:
            trouble = error  # The rest of the run is told all the same.
    if not watcher.only and (seen is None or seen.log != footprint.log):
        lines, cursor = new_in_log(reading, cursor)
        messages += lines
    return messages, cursor, trouble


def _grouped(watchers: list[Watcher], key: Callable[[Watcher], K]) -> dict[K, list[Watcher]]:
    groups: dict[K, list[Watcher]] = defaultdict(list)
    for watcher in watchers:
        groups[key(watcher)].append(watcher)
    return groups


def _clients(watchers: list[Watcher]) -> list[str]:
    return [watcher.client for watcher in watchers]


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
