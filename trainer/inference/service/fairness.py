"""Who is next: a queue from which each client is served in turn, however much another has asked."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Things that wait, each for a client."""

    def __init__(self) -> None:
        self._of: OrderedDict[Hashable, deque[T]] = OrderedDict()

    def put(self, client: Hashable, item: T) -> None:
        """Add something behind all else of its client."""
        self._of.setdefault(client, deque()).append(item)

    def first(self, ready: Callable[[T], bool]) -> T | None:
        """Return the first thing of the first client for which it is ready."""
        heads = (items[0] for items in self._of.values())
        return next((item for item in heads if ready(item)), None)

    def serve(self, client: Hashable) -> None:
        """Take out the first thing of a client, who is the last to be served again."""
        items = self._of.pop(client)
        items.popleft()
        if items:
            self._of[client] = items

    def remove(self, client: Hashable, item: T) -> None:
        """Take something out of turn."""
        items = self._of[client]
        items.remove(item)
        if not items:
            del self._of[client]

    def __iter__(self) -> Iterator[T]:
        for items in self._of.values():
            yield from items

    def count(self, client: Hashable) -> int:
        """Return how many things wait for a client."""
        return len(self._of.get(client, ()))

    def __len__(self) -> int:
        return sum(len(items) for items in self._of.values())
