"""Tells a webhook how a run has ended: ``python -m trainer.notify.notifying``, no torch.

A process of its own, in a session of its own, that lives beside the worker and is started only
where there is a webhook. It reads from a pipe whose other end the worker alone holds. A worker
that ends writes its last state there and is gone at once; of one that was killed nothing comes but
the end of the pipe. Only then is anything sent, in bounded time, and nobody waits for it.

``notified.json`` says for which worker that process waits, and then what came of it, so that an
end is told once: where both processes died together (the machine was restarted), the dashboard
starts another one that finds the worker gone.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from trainer import config as configuration
from trainer.children import environment, module_command
from trainer.errors import StoreError, TrainerError
from trainer.notify import notification
from trainer.store import process
from trainer.store.files import read_record, write_record
from trainer.store.lock import exclusive, is_held
from trainer.store.records import ENDED, Notification, ProcessRecord, State, now
from trainer.store.truth import interruption, told_truly
from trainer.store.workspace import RunPaths, Workspace

log = logging.getLogger(__name__)

_LAST_BREATH_SECONDS = 30.0
"""How long a process whose pipe has closed may still be there, or a child of it hold its lock."""

_LOOK_SECONDS = 0.1


# ---------------------------------------------------------------------- the worker's side


class Goodbye:
    """The worker's end of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def say(self, paths: RunPaths) -> None:
        """Hand over the last state, and never wait: what does not fit is read from the file."""
        with contextlib.suppress(OSError):
            os.write(self.descriptor, paths.state.read_bytes())
        os.close(self.descriptor)


def begin(workspace: Workspace, paths: RunPaths) -> Goodbye | None:
    """Start the process that tells how this process's run ends, where somebody is to be told."""
    worker = process.identify(os.getpid())
    if worker is None or webhook_of(paths)[0] is None:
        return None
    reading, writing = os.pipe()
    try:
        _start(workspace, paths.run_id, worker, reading)
    except OSError as error:
        os.close(writing)
        log.warning("The webhook will not be told: %s.", error.strerror)
        return None
    finally:
        os.close(reading)
    os.set_blocking(writing, False)
    return Goodbye(writing)


def tell_missed(workspace: Workspace) -> int:
    """Tell the ends that nobody lived to tell; return how many. For a viewer that starts."""
    missed = 0
    for run_id in workspace.run_ids():
        paths = workspace.paths(run_id)
        told = notification.read_notification(paths)
        if told is None or told.status != "waiting" or is_held(paths.notify_lock):
            continue
        _start(workspace, run_id, told.worker, subprocess.DEVNULL)
        missed += 1
    return missed


def _start(workspace: Workspace, run_id: str, worker: ProcessRecord, goodbye: int) -> None:
    """Start the process that tells.

    Args:
        goodbye: what it reads the last state from.
    """
    command = module_command("trainer.notify.notifying", "--home", str(workspace.home))
    command += ["--run-id", run_id, "--worker", msgspec.json.encode(worker).decode()]
    started = subprocess.Popen(
        command,
        stdin=goodbye,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=environment(),
    )
    # Whoever lives on must collect its child, or it stays a zombie.
    threading.Thread(target=started.wait, name=f"reap-{started.pid}", daemon=True).start()


def webhook_of(paths: RunPaths) -> tuple[str | None, Sequence[str]]:
    """Return the address that is told of a run, and of which ends."""
    try:
        settings = configuration.load_stored(paths.config).notify
    except (TrainerError, OSError):
        settings = configuration.NotifySettings()
    return settings.url or os.environ.get(notification.URL_VARIABLE) or None, settings.events


# ---------------------------------------------------------------------- the process


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for a worker's end, and tell of it."""
    parser = argparse.ArgumentParser(prog="trainer.notify.notifying", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--worker", required=True)
    options = parser.parse_args(arguments)
    paths = Workspace(options.home).paths(options.run_id)
    worker = msgspec.json.decode(options.worker, type=ProcessRecord)
    # The run may have been deleted, or the process of the worker before may still be telling.
    with contextlib.suppress(FileNotFoundError), exclusive(paths.notify_lock):
        watch(paths, worker, sys.stdin.buffer)
    return 0


def watch(paths: RunPaths, worker: ProcessRecord, goodbye: BinaryIO) -> None:
    """Tell of a worker's end once it has ended, unless that was done before.

    Args:
        goodbye: ends when the worker does; holds its last state, unless it was killed.
    """
    told = notification.read_notification(paths)
    if told is not None and told.worker == worker and told.status != "waiting":
        return
    waiting = Notification(worker=worker)
    _keep(paths, waiting)
    state = last_state(paths, worker, goodbye.read())
    if state is not None:
        _tell(paths, waiting, state)


def last_state(paths: RunPaths, worker: ProcessRecord, said: bytes) -> State | None:
    """Return how a run has ended, or None when it is no longer there.

    Args:
        said: what the worker wrote at its end.
    """
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
        state = msgspec.json.decode(said, type=State)
        if state.status in ENDED:
            return state
    process.wait_for_end(worker, _LAST_BREATH_SECONDS)
    try:
        return _state_after_death(paths, worker)
    except FileNotFoundError:
        return None
    except StoreError:
        return _interrupted(State(run_id=paths.run_id, created_at=now(), updated_at=now()), paths)


def _state_after_death(paths: RunPaths, worker: ProcessRecord) -> State:
    deadline = time.monotonic() + _LAST_BREATH_SECONDS
    while True:
        state = told_truly(read_record(paths.state, State), paths)
        if state.status in ENDED:
            return state
        # Another worker may have taken the run up already, which does not undo this end.
        if state.process != worker or time.monotonic() >= deadline:
            return _interrupted(state, paths)
        time.sleep(_LOOK_SECONDS)


def _interrupted(state: State, paths: RunPaths) -> State:
    return msgspec.structs.replace(
        state, status="interrupted", error=interruption(state, paths), process=None
    )


def _tell(paths: RunPaths, waiting: Notification, state: State) -> None:
    from trainer.notify import webhook  # Not kept in memory for as long as a run takes.

    url, events = webhook_of(paths)
    if url is None or state.status not in events:
        paths.notified.unlink(missing_ok=True)
        return
    _keep(paths, msgspec.structs.replace(waiting, status="sending"))
    delivery = webhook.deliver(url, notification.message(state, paths))
    _keep(paths, notification.outcome(waiting, state.status, url, delivery))


def _keep(paths: RunPaths, told: Notification) -> None:
    """Write down how far it has come; a full disk is no reason not to tell."""
    try:
        write_record(paths.notified, told)
    except OSError:
        # An older word would let this end be told a second time.
        with contextlib.suppress(OSError):
            paths.notified.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
