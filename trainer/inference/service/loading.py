"""Bringing models into memory, one at a time, in a thread: others write on meanwhile.

A checkpoint is opened first, which takes no memory to speak of and tells how much its model needs;
it is built when there is room. Both are safe beside the thread that writes: they touch nothing that
it uses, and read the disk and compute checksums without holding the interpreter.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from trainer.errors import TrainerError
from trainer.inference.service.desk import Desk, MakeRoom
from trainer.inference.service.memory import too_large
from trainer.inference.service.parts import Model, StoredModel
from trainer.inference.service.surroundings import Surroundings

T = TypeVar("T")


class Loading:
    """The models that are wanted and not there yet.

    Args:
        given_up: is called with a desk whose model is not coming.
    """

    def __init__(
        self, around: Surroundings, make_room: MakeRoom, given_up: Callable[[Desk], None]
    ) -> None:
        self._around, self._make_room, self._given_up = around, make_room, given_up
        self._wanted: deque[Desk] = deque()
        self._busy = False
        self._opened: tuple[Desk, StoredModel] | None = None

    def want(self, desk: Desk) -> None:
        """Have the model of a desk brought."""
        self._wanted.append(desk)

    @property
    def needs_room(self) -> bool:
        """Whether a model waits for memory that texts under way take."""
        return self._opened is not None

    def go_on(self) -> None:
        """Begin the next step, if it is time for one."""
        if self._opened is not None:
            self._build_if_there_is_room(*self._opened)
        while self._wanted and not self._busy and self._opened is None:
            self._open(self._wanted.popleft())

    def _open(self, desk: Desk) -> None:
        if desk.in_use:
            self._run(desk, partial(self._around.shelf.open, desk.path), self._weigh)
        else:  # Nobody wants it any more.
            self._given_up(desk)

    def _weigh(self, desk: Desk, stored: StoredModel) -> None:
        """Refuse what would never fit."""
        what = f"the model of {desk.path.name}"
        error = too_large(what, stored.bytes, self._around.limit_bytes)
        if error is not None:
            self._give_up(desk, error)
        else:
            self._opened = desk, stored

    def _build_if_there_is_room(self, desk: Desk, stored: StoredModel) -> None:
        if self._make_room(stored.bytes, desk):
            self._opened = None
            self._run(desk, stored.build, self._have)

    def _have(self, desk: Desk, model: Model) -> None:
        desk.model = model
        desk.last_used = self._around.clock()
        desk.admit()  # At once: another model that needs room must not take its place unused.

    def _give_up(self, desk: Desk, error: TrainerError) -> None:
        desk.fail_all(error)
        self._given_up(desk)

    def _run(self, desk: Desk, call: Callable[[], T], then: Callable[[Desk, T], None]) -> None:
        """Call something in a thread, and go on with its result in this one."""
        self._busy = True
        self._around.aside.run(call, lambda found: self._finish(desk, found, then))

    def _finish(self, desk: Desk, found: T | TrainerError, then: Callable[[Desk, T], None]) -> None:
        self._busy = False
        if isinstance(found, TrainerError):
            self._give_up(desk, found)
        else:
            then(desk, found)
