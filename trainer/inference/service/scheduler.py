"""Works on the jobs of all clients by turns; needs no torch itself.

A turn of a model is one token for each text that it writes, and one step of one other job. Models
take turns, so do the clients whose texts wait. Whatever goes wrong in a job ends that job alone.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path

import msgspec

from trainer.errors import BusyError, TrainerError
from trainer.inference.protocol import (
    Cancel,
    Command,
    Generate,
    Import,
    JobCommand,
    Look,
    Retire,
    Standing,
)
from trainer.inference.service.aside import Aside
from trainer.inference.service.desk import Desk
from trainer.inference.service.loading import Loading
from trainer.inference.service.messages import Asked, Finished, Inbox, Left, Message
from trainer.inference.service.parts import Identity, Shelf
from trainer.inference.service.peer import Peer
from trainer.inference.service.stepping import Tasks
from trainer.inference.service.surroundings import Surroundings
from trainer.inference.service.work import Key, Task, Text, Work

MOST_JOBS = 512
MOST_JOBS_OF_ONE = 128


class Scheduler:
    """Everything that one process has to do.

    Args:
        limit_bytes: what all models together may take.
        keep_seconds: how long a model that nobody uses is kept.
        clock: monotonic seconds.
        gone: is called with each client that has left.
    """

    def __init__(
        self,
        shelf: Shelf,
        inbox: Inbox,
        *,
        limit_bytes: int,
        keep_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        gone: Callable[[Peer], None] = lambda _: None,
    ) -> None:
        self._shelf, self._inbox, self._clock = shelf, inbox, clock
        self._keep_seconds, self._gone = keep_seconds, gone
        self._around = Surroundings(shelf, Aside(inbox), clock, self._forget, limit_bytes)
        self._loading = Loading(self._around, self._make_room, self._remove)
        self._free_tasks = Tasks(self._around)
        self._desks: dict[Identity, Desk] = {}
        self._works: dict[Key, tuple[Work, Desk | None]] = {}
        self._of_client: Counter[Hashable] = Counter()
        self._last_work = clock()
        self.retiring = False
        """Whether no more jobs are taken."""

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._works

    @property
    def idle_seconds(self) -> float:
        """How long ago something was asked for or done."""
        return self._clock() - self._last_work

    def serve(self, over: Callable[[], bool], tick_seconds: float) -> None:
        """Work until it is over.

        Args:
            over: is asked after each turn.
            tick_seconds: it is asked as often where nothing happens.
        """
        while not over():
            if not self.turn():
                self._wait(tick_seconds)

    def fail_all(self, error: TrainerError) -> None:
        """End all jobs with an error."""
        for work, _ in list(self._works.values()):
            work.fail(error)

    # ------------------------------------------------------------------ turns

    def turn(self) -> bool:
        """Let each model and one task without a model go on; say whether anything happened."""
        happened = self._listen()
        self._loading.go_on()
        worked = self._free_tasks.step(None)
        for desk in list(self._desks.values()):
            happened |= self._listen()
            worked |= self._serve_desk(desk)
        if worked:
            self._shelf.keep_pace()
        if not self.idle:
            self._last_work = self._clock()
        self._remove_unused()
        return worked or happened

    def _serve_desk(self, desk: Desk) -> bool:
        if not self._loading.needs_room:
            desk.admit()
        return desk.turn()

    # ------------------------------------------------------------------ what others tell

    def _listen(self) -> bool:
        heard = not self._inbox.empty()
        while not self._inbox.empty():
            self._take(self._inbox.get())
        return heard

    def _wait(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._take(self._inbox.get(timeout=seconds))

    def _take(self, message: Message) -> None:
        if isinstance(message, Asked):
            self._do(message.peer, message.command)
        elif isinstance(message, Left):
            self._drop(message.peer)
        elif isinstance(message, Finished):
            message.then()

    def _do(self, peer: Peer, command: Command) -> None:
        self._last_work = self._clock()
        if isinstance(command, Cancel):
            self._cancel((peer.number, command.id))
        elif isinstance(command, Retire):
            self.retiring = True
        elif isinstance(command, Look):
            told = msgspec.to_builtins(self._standing())
            peer.send({"id": command.id, "type": "done", **told})
        elif not self.retiring:  # Else the client asks the next process.
            self._begin(_work(peer, command))

    def _begin(self, work: Work) -> None:
        try:
            self._refuse_too_many(work)
            desk = self._desk_of(work.command)
        except TrainerError as error:
            work.fail(error)
            return
        self._works[work.key] = work, desk
        self._of_client[work.client] += 1
        if desk is not None:
            desk.take(work)
        elif isinstance(work, Task):
            self._free_tasks.put(work)

    def _refuse_too_many(self, work: Work) -> None:
        hint = "Wait until some are done, or end some."
        if self._of_client[work.client] >= MOST_JOBS_OF_ONE:
            raise BusyError(f"{MOST_JOBS_OF_ONE} texts are being written for you already.", hint)
        if len(self._works) >= MOST_JOBS:
            raise BusyError(f"{MOST_JOBS} texts are being written already.", hint)

    def _cancel(self, key: Key) -> None:
        work, desk = self._works.get(key, (None, None))
        if desk is not None and work is not None:
            desk.cancel(work)
        elif isinstance(work, Task):
            self._free_tasks.cancel(work)

    def _drop(self, peer: Peer) -> None:
        """End all that a client has asked for."""
        self._gone(peer)
        for work, desk in [held for held in self._works.values() if held[0].peer is peer]:
            if desk is not None:
                desk.drop(work)
            elif isinstance(work, Task):
                self._free_tasks.drop(work)

    def _forget(self, work: Work) -> None:
        del self._works[work.key]
        self._of_client -= Counter({work.client: 1})
        self._last_work = self._clock()

    def _standing(self) -> Standing:
        held = [desk.told() for desk in self._desks.values() if desk.model is not None]
        waiting = sum(desk.waiting for desk in self._desks.values())
        limit = self._around.limit_bytes
        return Standing(pid=os.getpid(), models=held, limit_bytes=limit, waiting=waiting)

    # ------------------------------------------------------------------ models

    def _desk_of(self, command: JobCommand) -> Desk | None:
        """Return where a job is worked on; None for one without a model.

        Raises:
            NotFoundError: there is no such checkpoint.
        """
        if isinstance(command, Import | Look):
            return None
        path = Path(command.checkpoint)
        identity = self._shelf.identity(path)
        if identity not in self._desks:
            self._remove_replaced(path)
            self._desks[identity] = Desk(identity, path, self._around, self._make_room)
            self._loading.want(self._desks[identity])
        return self._desks[identity]

    def _remove_replaced(self, path: Path) -> None:
        """Free what a checkpoint of this name held before."""
        for desk in self._unused():
            if desk.path == path:
                self._remove(desk)

    def _remove_unused(self) -> None:
        """Free models that nobody has used for long."""
        for desk in self._unused():
            if self._clock() - desk.last_used >= self._keep_seconds:
                self._remove(desk)

    def _make_room(self, more: int, wanting: Desk) -> bool:
        """Free models at rest, the least recently used first, until more bytes fit."""
        while sum(desk.bytes for desk in self._desks.values()) + more > self._around.limit_bytes:
            resting = [desk for desk in self._desks.values() if desk.model and not desk.at_work]
            spare = [desk for desk in resting if desk is not wanting]
            if not spare:
                return False
            self._remove(min(spare, key=lambda desk: desk.last_used))
        return True

    def _unused(self) -> list[Desk]:
        return [desk for desk in self._desks.values() if desk.model and not desk.in_use]

    def _remove(self, desk: Desk) -> None:
        """Free the model of a desk; where texts wait for it, it is brought again in its turn."""
        had_model, desk.model = desk.model is not None, None
        if desk.in_use:
            self._loading.want(desk)
        else:
            del self._desks[desk.identity]
        if had_model:
            self._shelf.released()


def _work(peer: Peer, command: JobCommand) -> Work:
    return Text(peer, command) if isinstance(command, Generate) else Task(peer, command)
