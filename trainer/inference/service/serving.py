"""How the process serves: one owner over standard input, or all clients of a workspace."""

from __future__ import annotations

import logging
import os
import queue
import sys
import time
from collections.abc import Callable
from typing import BinaryIO

from trainer.errors import NotFoundError
from trainer.inference.rendezvous import Rendezvous
from trainer.inference.service import memory
from trainer.inference.service.lifetime import (
    END_SECONDS,
    END_VARIABLE,
    KEEP_SECONDS,
    KEEP_VARIABLE,
    LOOK_SECONDS,
    Lifetime,
    seconds_from,
)
from trainer.inference.service.listener import Listener
from trainer.inference.service.messages import Inbox
from trainer.inference.service.parts import Shelf
from trainer.inference.service.peer import Line, Peer
from trainer.inference.service.scheduler import Scheduler

MakeShelf = Callable[[], Shelf]
"""Imports what computes, which takes long: clients are listened to meanwhile."""

log = logging.getLogger(__name__)


def serve_owner(make_shelf: MakeShelf) -> None:
    """Serve the one who holds the other end of standard input, until that ends."""
    inbox: Inbox = queue.SimpleQueue()
    # A job may still have long to go when nobody is left to hear of it.
    Peer(Line(sys.stdin.buffer, _stdout_for_events(), lambda: os._exit(0)), inbox)
    limit_bytes = memory.limit_bytes(memory.OWN_SHARE)
    _scheduler(make_shelf(), inbox, limit_bytes).serve(lambda: False, _tick_seconds())


def serve_workspace(place: Rendezvous, descriptor: int, make_shelf: MakeShelf) -> None:
    """Serve all clients of a workspace, until nobody needs it.

    Args:
        descriptor: of the open socket.
    """
    started = time.monotonic()
    inbox: Inbox = queue.SimpleQueue()
    listener = Listener(descriptor, place, inbox)
    limit_bytes = memory.limit_bytes(memory.SHARED_SHARE)
    scheduler = _scheduler(make_shelf(), inbox, limit_bytes, listener.forget)
    lifetime = Lifetime(place.home, listener, scheduler, seconds_from(END_VARIABLE, END_SECONDS))
    log.info("Serving %s after %.1f s.", place.home, time.monotonic() - started)
    scheduler.serve(lifetime.over, _tick_seconds())
    log.info("The service ends: %s.", lifetime.reason)
    listener.leave()
    if lifetime.workspace_is_gone:
        scheduler.fail_all(NotFoundError(f"The workspace {place.home} is gone."))
    listener.dismiss()


def _scheduler(
    shelf: Shelf, inbox: Inbox, limit_bytes: int, gone: Callable[[Peer], None] = lambda _: None
) -> Scheduler:
    return Scheduler(
        shelf,
        inbox,
        limit_bytes=limit_bytes,
        keep_seconds=seconds_from(KEEP_VARIABLE, KEEP_SECONDS),
        gone=gone,
    )


def _tick_seconds() -> float:
    keep, end = seconds_from(KEEP_VARIABLE, KEEP_SECONDS), seconds_from(END_VARIABLE, END_SECONDS)
    return max(0.05, min(LOOK_SECONDS, keep, end))


def _stdout_for_events() -> BinaryIO:
    """Return standard output for events alone; whatever else is printed goes to standard error."""
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return events
