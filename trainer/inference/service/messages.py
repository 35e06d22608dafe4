"""What the threads of the process tell the one that works."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.inference.protocol import Command

if TYPE_CHECKING:
    from trainer.inference.service.peer import Peer


@dataclass(frozen=True)
class Asked:
    """A client has sent a command."""

    peer: Peer
    command: Command


@dataclass(frozen=True)
class Left:
    """A client is gone."""

    peer: Peer


@dataclass(frozen=True)
class CaughtUp:
    """A client that was behind has taken half of what waited for it."""


@dataclass(frozen=True)
class Finished:
    """Another thread has done what it was started for; ``then`` goes on with what came of it."""

    then: Callable[[], None]


Message = Asked | Left | CaughtUp | Finished
Inbox = queue.SimpleQueue[Message]
