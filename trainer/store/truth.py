"""What is true of a run whose process may be gone: its status, and why it ended so.

``state.json`` says what the worker wrote last. An old heartbeat alone proves nothing (the process
may be stopped or slow, the clock may have moved): a run is interrupted when exactly the process
that owned it is gone and nobody holds its lock.
"""

from __future__ import annotations

import json

import msgspec

from trainer.store import lock, process
from trainer.store.files import read_record
from trainer.store.records import ACTIVE, ErrorRecord, State
from trainer.store.workspace import RunPaths


def told_truly(state: State, paths: RunPaths) -> State:
    """Return the state with the status that is true now.

    A run whose file says active is interrupted when its process is gone and nobody holds its lock.
    """
    if state.status not in ACTIVE or process.is_alive(state.process) or lock.is_held(paths.lock):
        return state
    # The worker may have said goodbye between the two looks.
    latest = read_record(paths.state, State)
    if latest.status not in ACTIVE or process.is_alive(latest.process):
        return latest
    return msgspec.structs.replace(
        latest,
        status="interrupted",
        phase=None,
        progress=None,
        process=None,
        eta_seconds=None,
        error=interruption(latest, paths),
    )


def interruption(state: State, paths: RunPaths) -> ErrorRecord:
    """Say what is known of a process that vanished, and what can be done about it."""
    who = f"The training process {state.process.pid}" if state.process else "The training process"
    if _was_killed_on_request(paths):
        message = f"{who} was ended at once, as was asked for."
    else:
        heard = f", last heard of at {state.heartbeat_at}" if state.heartbeat_at else ""
        rebooted = state.process is not None and state.process.boot_id != process.boot_id()
        why = "the machine was restarted" if rebooted else "it was killed, or ran out of memory"
        message = f"{who} is gone without a goodbye{heard}: {why}."
    if paths.checkpoint("latest").exists():
        hint = "Resume the run to go on from its last checkpoint; worker.log may say more."
    else:
        hint = "It had saved no checkpoint yet: start it anew with its own config.toml."
    return ErrorRecord(kind="interrupted", message=message, hint=hint)


def _was_killed_on_request(paths: RunPaths) -> bool:
    try:
        return bool(json.loads(paths.stop_request.read_bytes())["now"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
