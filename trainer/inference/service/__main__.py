"""Starts the process."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trainer.inference.rendezvous import Rendezvous
from trainer.inference.service import priority
from trainer.inference.service.parts import Shelf
from trainer.inference.service.serving import MakeShelf, serve_owner, serve_workspace

PROCESS_NAME = b"llm-trainer svc"
"""What ``ps`` and ``top`` call it; the kernel keeps 15 bytes."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the owner's input ends, or as long as the clients of a workspace need it."""
    parser = argparse.ArgumentParser(prog="trainer.inference.service", description=__doc__)
    parser.add_argument("--home", type=Path, help="serve all clients of this workspace")
    parser.add_argument("--socket", type=Path, help="the path of the socket they meet it at")
    parser.add_argument("--listen", type=int, metavar="FD", help="that socket, open")
    options = parser.parse_args(arguments)
    set_up()
    if options.home is None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        serve_owner(partial(_shelf, None))
    else:
        place = Rendezvous(options.home, options.socket.parent, options.socket.stem)
        serve_shared(place, options.listen, partial(_shelf, place.home))
    return 0


def set_up() -> None:
    """Give the process a name, let others go first, and have it tell what it fails with."""
    _prctl(_PR_SET_NAME, PROCESS_NAME)
    priority.yield_to_others()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(process)d %(message)s"
    )
    faulthandler.enable()


def serve_shared(place: Rendezvous, descriptor: int, make_shelf: MakeShelf) -> None:
    """Serve a workspace and end."""
    serve_workspace(place, descriptor, make_shelf)
    sys.stderr.flush()
    os._exit(0)  # Threads of libraries need no farewell.


def _shelf(home: Path | None) -> Shelf:
    # Nothing of what is imported is ever garbage: not to look for any takes 0.2 s off, here and,
    # for what there is now is left out for good, 0.1 s off each model that is freed.
    gc.disable()
    from trainer.inference.service.models import Shelf as ModelShelf

    gc.freeze()
    gc.enable()
    return ModelShelf(home)


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main())
