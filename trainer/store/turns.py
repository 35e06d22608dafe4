"""Whose turn it is: pure functions of the places that runs hold in the queue.

Every active run has one place. It trains on a device, or waits until one of those that will do
is free. Tickets are drawn in the order of launching and decide who comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trainer.store.records import ProcessRecord, QueueStanding


class PlaceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run's place.

    Attributes:
        devices: keys of the devices of which any will do, the best first.
        wanted: the same for people, like ``cpu`` or ``one of 2 GPUs``.
        training_on: the key of the device that it has; None while it waits.
        anyway: a person said that it need not wait.
        process: the worker; None while the launcher holds the place for it.
    """

    ticket: int
    run_id: str
    devices: tuple[str, ...]
    wanted: str
    training_on: str | None = None
    anyway: bool = False
    process: ProcessRecord | None = None

    @property
    def waits(self) -> bool:
        return self.training_on is None


def device_for(mine: PlaceRecord, others: Sequence[PlaceRecord]) -> str | None:
    """Return the device that a waiting run may take now, or None when it must wait on.

    In the order of tickets each waiting run is given the first of its devices on which nobody
    trains and which no earlier one was given. A run that need not wait takes its best device
    when there is no such one.
    """
    taken = {place.training_on for place in others if not place.waits}
    for place in _waiting_before(mine, others):
        taken.add(_first_free(place, taken))
    free = _first_free(mine, taken)
    return mine.devices[0] if free is None and mine.anyway else free


def _first_free(place: PlaceRecord, taken: Iterable[str | None]) -> str | None:
    return next((device for device in place.devices if device not in taken), None)


def _waiting_before(mine: PlaceRecord, others: Iterable[PlaceRecord]) -> list[PlaceRecord]:
    earlier = [place for place in others if place.waits and place.ticket < mine.ticket]
    return sorted(earlier, key=lambda place: place.ticket)


def standing(mine: PlaceRecord, others: Sequence[PlaceRecord]) -> QueueStanding:
    """Tell where a waiting run stands: who has what it waits for, then who comes before it."""
    wanted = set(mine.devices)
    training = [place for place in others if place.training_on in wanted]
    waiting = [place for place in _waiting_before(mine, others) if wanted & set(place.devices)]
    ordered = [*sorted(training, key=lambda place: place.ticket), *waiting]
    return QueueStanding(
        device=mine.wanted,
        position=1 + _fewest(wanted, training) + len(waiting),
        ahead=[place.run_id for place in ordered],
    )


def _fewest(devices: Iterable[str], training: Sequence[PlaceRecord]) -> int:
    """Return how many runs must end before the first of these devices is free."""
    return min(sum(place.training_on == device for place in training) for device in devices)
