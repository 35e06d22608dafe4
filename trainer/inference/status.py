"""What the shared process of a workspace holds and has to do, asked without starting it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from trainer.inference.protocol import Look, Standing
from trainer.inference.rendezvous import connect, rendezvous

PATIENCE_SECONDS = 2.0


def status(home: Path) -> Standing | None:
    """Return how the process of a workspace stands; None where none runs, or answers in time."""
    place = rendezvous(home)
    connection = connect(place.socket) if place is not None else None
    if connection is None:
        return None
    connection.settimeout(PATIENCE_SECONDS)
    with connection, connection.makefile("rb") as events, contextlib.suppress(OSError):
        connection.sendall(msgspec.json.encode(Look(1)) + b"\n")
        for line in events:
            event = msgspec.json.decode(line)
            if event["id"] == 1:
                return msgspec.convert(event, Standing)
    return None
