"""A queue of runs without a daemon: a folder with one locked file for each active run.

A run's *place* is a file ``<ticket>-<run id>.json`` that its process keeps locked (``flock``) for
as long as it lives. The kernel lets go of the lock when the process dies, however it dies, so a
killed run gives up its place by itself. The launcher draws the place and hands the open file to
the worker, as it does with the run's lock, so runs keep the order in which they were launched.

All reading and changing happens under one lock that is held for milliseconds. Files of the dead
are removed as they are met: what a look costs depends on the runs that live and on nothing else.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from trainer.errors import StoreError
from trainer.store import lock, process
from trainer.store.lock import RunLock
from trainer.store.records import QueueStanding
from trainer.store.turns import PlaceRecord, device_for, standing

LOCK_PATIENCE_SECONDS = 5.0
_HANDING_OVER_SECONDS = 60.0
_PLACE_BYTES = 4096
"""Every place has this size from the first: a full disk cannot keep a run from taking its turn."""


class Queue:
    """The places of one workspace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def draw(
        self, run_id: str, devices: Sequence[str], wanted: str, *, anyway: bool = False
    ) -> Place:
        """Take a place behind all others, and the device at once where it is the run's turn.

        Args:
            devices: keys of the devices of which any will do, the best first.
            wanted: the same for people.
            anyway: take a device whoever has it.

        Raises:
            OSError: the place cannot be written.
            StoreError: another process does not let go of the queue.
        """
        with self.locked():
            others = self.living()
            record = PlaceRecord(
                ticket=1 + max((place.ticket for place in others), default=0),
                run_id=run_id,
                devices=tuple(devices),
                wanted=wanted,
                anyway=anyway,
            )
            place = Place(self, _new_file(self._folder / _file_name(record)), record)
            try:
                place.step_forward(others)
                place.write()
            except OSError:
                place.release()
                raise
            return place

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from reading or changing places for a moment.

        Raises:
            StoreError: another process has kept the lock for seconds.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "queue.lock"
        held = RunLock.acquire(path, LOCK_PATIENCE_SECONDS)
        if held is None:
            raise _kept_locked(path)
        try:
            yield
        finally:
            held.release()

    def living(self) -> list[PlaceRecord]:
        """Return the places whose process lives, and remove the others; the lock must be held."""
        found = (_read_if_held(path) for path in self._folder.glob("*.json"))
        return [place for place in found if place is not None]


class Place:
    """The place of one run, held through an open file."""

    def __init__(self, queue: Queue, descriptor: int, record: PlaceRecord) -> None:
        self._queue = queue
        self.descriptor = descriptor
        self.record = record
        self._written: PlaceRecord | None = None
        self.standing: QueueStanding | None = None
        """Where the run stood when its turn was looked for last; None once it has a device."""

    @classmethod
    def inherited(cls, queue: Queue, descriptor: int) -> Place:
        """Take over the place that the launcher passed to this process.

        Raises:
            OSError: the descriptor is not an open file, or another process holds the place.
            StoreError: it does not hold a place.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(descriptor, False)
        record = _read(descriptor)
        if record is None:
            raise StoreError("The launcher did not hand over a place in the queue.")
        me = process.identify(os.getpid())
        return cls(queue, descriptor, msgspec.structs.replace(record, process=me))

    def take_turn(self, *, anyway: bool = False) -> QueueStanding | None:
        """Take a device when it is this run's turn, and return None; else say where it stands.

        Args:
            anyway: from now on the run need not wait.

        Raises:
            OSError: the turn cannot be written down.
            StoreError: another process does not let go of the queue.
        """
        if not self.record.waits:
            self._sign()
            return None
        with self._queue.locked():
            self.record = msgspec.structs.replace(self.record, anyway=self.record.anyway or anyway)
            self.step_forward(self._queue.living())
            try:
                self.write()
            except OSError:
                self.record = msgspec.structs.replace(self.record, training_on=None)
                raise
            return self.standing

    def _sign(self) -> None:
        """Write down whose place it is now; a run that has its device begins even without that."""
        if self.record != self._written:
            with suppress(OSError, StoreError), self._queue.locked():
                self.write()

    def move(self, device: str, wanted: str) -> None:
        """Wait for another device from the next look on, with the ticket drawn at the start."""
        self.record = msgspec.structs.replace(
            self.record, devices=(device,), wanted=wanted, training_on=None
        )

    def step_forward(self, others: Sequence[PlaceRecord]) -> None:
        """Take a device if there is one to take; the queue must be locked."""
        rivals = _rivals(self.record, others)
        device = device_for(self.record, rivals)
        self.record = msgspec.structs.replace(self.record, training_on=device)
        self.standing = standing(self.record, rivals) if device is None else None

    def write(self) -> None:
        """Write the place into its file, over what is there; the queue must be locked.

        Raises:
            OSError: the file cannot be written.
        """
        if self.record != self._written:
            os.pwrite(self.descriptor, msgspec.json.encode(self.record).ljust(_PLACE_BYTES), 0)
            self._written = self.record

    def release(self) -> None:
        """Close this process's hold on the place; harmless when called again."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def devices_in_use(folder: Path) -> set[str]:
    """Return the keys of the devices that runs of a workspace train on.

    It is a look without a lock, which disturbs nobody: a place is believed when its process lives,
    or when it is so new that the launcher may still be handing it over.
    """
    found = (_glance(path) for path in folder.glob("*.json"))
    return {place.training_on for place in found if place and place.training_on is not None}


def _glance(path: Path) -> PlaceRecord | None:
    with suppress(OSError, msgspec.DecodeError):
        place = msgspec.json.decode(path.read_bytes(), type=PlaceRecord)
        age_seconds = time.time() - path.stat().st_mtime
        handed_over = place.process is not None or age_seconds > _HANDING_OVER_SECONDS
        return place if process.is_alive(place.process) or not handed_over else None
    return None


def _kept_locked(path: Path) -> StoreError:
    keeper = lock.holder(path)
    who = f"process {keeper.pid}" if keeper else "another process"
    return StoreError(
        f"The queue of runs is kept locked by {who} ({path}).",
        "If that process is stopped, let it go on (kill -CONT) or end it.",
    )


def _rivals(mine: PlaceRecord, others: Sequence[PlaceRecord]) -> list[PlaceRecord]:
    """Return the places that count against a run's own.

    An older place of the same run belongs to a process that has said goodbye. A waiting process
    that someone has stopped (SIGSTOP) keeps its ticket but is passed: it could not make use of
    its turn, and everybody behind it would wait for ever. One that trains keeps its device.
    """
    return [
        place
        for place in others
        if place.run_id != mine.run_id and not (place.waits and process.is_stopped(place.process))
    ]


def _file_name(record: PlaceRecord) -> str:
    return f"{record.ticket:08d}-{record.run_id}.json"


def _new_file(path: Path) -> int:
    """Make a file that this process, and whoever it hands it to, keeps locked."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _read_if_held(path: Path) -> PlaceRecord | None:
    """Read the place of a living process; remove what a dead one left behind."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(descriptor)
    else:
        path.unlink(missing_ok=True)
        return None
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> PlaceRecord | None:
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(os.pread(descriptor, _PLACE_BYTES, 0), type=PlaceRecord)
    return None
