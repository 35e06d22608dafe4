"""Events on their way to a reader: what it is behind with is told to it in fewer, longer ones."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from trainer.inference.protocol import Event

_MERGED_TYPES = frozenset({"token", "progress"})
_LOOSE_EVENTS = 64
"""So many token events of one text may wait before they are made one."""


@dataclass
class _Waiting:
    """Events that are taken as one, and how many tokens they tell of."""

    events: list[Event] = field(default_factory=list)
    tokens: int = 0


class Backlog:
    """Events that wait for one reader, in order; any thread may put them in or take them out.

    Token events of one text that wait together are taken as one, of several reports of progress
    the last.

    Args:
        most_tokens: when so many wait, the reader is ``behind`` until it has taken half of them.
        caught_up: is called then.
    """

    def __init__(
        self, most_tokens: int | None = None, caught_up: Callable[[], None] = lambda: None
    ) -> None:
        self.behind = False
        self._gathering = False
        self._most_tokens, self._caught_up = most_tokens, caught_up
        self._changed = threading.Condition()
        self._waiting: OrderedDict[Hashable, _Waiting] = OrderedDict()
        self._numbers = itertools.count()
        self._closed = False
        self._tokens = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def put(self, event: Event) -> None:
        """Add an event; after :meth:`close` it is dropped."""
        with self._changed:
            if not self._closed:
                self._add(event)
                if not self._gathering or event["type"] not in _MERGED_TYPES:
                    self._changed.notify()

    def _add(self, event: Event) -> None:
        kind = event["type"]
        if kind == "token":
            self._add_token(event)
        elif kind == "progress":
            self._waiting[event["id"], kind] = _Waiting([event])
        else:
            self._waiting[kind, next(self._numbers)] = _Waiting([event])

    def _add_token(self, event: Event) -> None:
        waiting = self._waiting.setdefault((event["id"], event.get("row", 0)), _Waiting())
        waiting.events.append(event)
        waiting.tokens += 1
        self._tokens += 1
        if self._tokens == self._most_tokens:
            self.behind = True
        if len(waiting.events) > _LOOSE_EVENTS:
            waiting.events = [merged(waiting.events)]

    def take(self) -> Event | None:
        """Wait for the next event and return it; None when there is none left and none to come."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            _, waiting = self._waiting.popitem(last=False)
            self._reduce(waiting.tokens)
        return merged(waiting.events)

    def gather(self, seconds: float) -> None:
        """Let events that are taken as one come together for so long, or until another one is."""
        with self._changed:
            self._gathering = True
            self._changed.wait_for(self._must_go, seconds)
            self._gathering = False

    def _must_go(self) -> bool:
        last = (waiting.events[-1]["type"] for waiting in self._waiting.values())
        return self._closed or any(kind not in _MERGED_TYPES for kind in last)

    def _reduce(self, tokens: int) -> None:
        self._tokens -= tokens
        if self.behind and self._tokens * 2 <= (self._most_tokens or 0):
            self.behind = False
            self._caught_up()

    def close(self, *, drop: bool = False) -> None:
        """Take no more events; those that wait can still be taken unless they are dropped."""
        with self._changed:
            self._closed = True
            if drop:
                self._waiting.clear()
            self._changed.notify_all()


def merged(events: Sequence[Event]) -> Event:
    """Return one token event that tells what several of the same text do, in their order."""
    if len(events) == 1:
        return events[0]
    whole = {**events[-1], "text": "".join(event["text"] for event in events)}
    if "logprobs" in whole:
        whole["logprobs"] = [one for event in events for one in event["logprobs"]]
    return whole
