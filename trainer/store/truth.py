"""What is true of a run whose process may be gone: its status, and why it ended so.

``state.json`` says what the worker wrote last. An old heartbeat alone proves nothing (the process
may be stopped or slow, the clock may have moved): a run is interrupted when exactly the process
that owned it is gone and nobody holds its lock.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path

import msgspec

from trainer import formats
from trainer.store import lock, process
from trainer.store.checkpoints import any_checkpoint
from trainer.store.files import read_record
from trainer.store.oom import oom_kills_since
from trainer.store.records import ACTIVE, ErrorRecord, State
from trainer.store.stop_request import StopRequest, read_stop_request
from trainer.store.workspace import RunPaths

SILENT_SECONDS = 10.0
"""A worker that lives and was not heard of for longer is told of."""

PROCESS_BEGINS = "Process {pid} begins."
"""The line with which a worker's part of ``worker.log`` starts."""

NOTHING_SAVED = "It had done no step that was saved"
"""What a run lacks that cannot be resumed."""

_BEGINS_LINE = re.compile(PROCESS_BEGINS.format(pid=r"\d+"))
_LAST_WORDS_BYTES = 64 * 1024
_FATAL = "Fatal Python error: "
_TRACEBACK = "Traceback (most recent call last):"
_IN_PASSING = ("Exception in thread", "Exception ignored in")
_REFUSAL = " ERROR The run cannot begin: "

MEMORY_HINT = (
    "Lower training.batch_size and raise training.grad_accum_steps by the same factor, choose a "
    "smaller model or a shorter training.seq_length, or close other programs."
)


def told_truly(state: State, paths: RunPaths) -> State:
    """Return the state with the status that is true now.

    A run whose file says active is interrupted when its process is gone and nobody holds its
    lock, and is stopping as soon as it was asked to, heard or not.
    """
    if state.status not in ACTIVE:
        return state
    if process.is_alive(state.process) or lock.is_held(paths.lock):
        asked = paths.stop_request.exists()
        return msgspec.structs.replace(state, status="stopping", queue=None) if asked else state
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
        queue=None,
        error=interruption(latest, paths),
    )


def silent_seconds(state: State, uptime_seconds: float | None = None) -> int | None:
    """Return for how long a living worker was not heard of, once that is longer than usual.

    Both ends are times of the monotonic clock: no jump of the wall clock makes a silence.

    Args:
        state: as told truly, so that an active one with a process has one that lives.
        uptime_seconds: the time now on that clock.
    """
    heard = state.heartbeat_uptime_seconds
    if state.status not in ACTIVE or state.process is None or heard is None:
        return None
    silent = (time.monotonic() if uptime_seconds is None else uptime_seconds) - heard
    return int(silent) if silent >= SILENT_SECONDS else None


# ---------------------------------------------------------------------- why it is gone


def interruption(state: State, paths: RunPaths) -> ErrorRecord:
    """Say what is known of a process that vanished, and what can be done about it."""
    who = f"The training process {state.process.pid}" if state.process else "The training process"
    heard = f", last heard of at {formats.moment(state.heartbeat_at)}" if state.heartbeat_at else ""
    request = read_stop_request(paths)
    killed = killed_words(request)
    kills = 0 if killed or _rebooted(state) else oom_kills_since(state.oom_kills)
    if killed:
        message = f"{who} {killed}."
    else:
        why = _likely_cause(state, last_words(paths.worker_log), kills)
        message = f"{who} is gone without a goodbye{heard}: {why}."
    as_asked = request is not None and request.killed_for == "request"
    hint = _what_to_do(paths, as_asked=as_asked)
    if kills:
        hint = f"{MEMORY_HINT} {hint}"
    return ErrorRecord(kind="interrupted", message=message, hint=hint)


def killed_words(request: StopRequest | None) -> str | None:
    """Say why a run was killed by this program itself, if it was."""
    if request is None or request.killed_for is None:
        return None
    if request.killed_for == "request":
        return "was ended at once, as was asked for"
    seconds = f"{request.deadline_seconds:,.0f} s"
    return f"did not end within its deadline of {seconds} and was killed"


def _likely_cause(state: State, said: str | None, kills: int | None) -> str:
    if _rebooted(state):
        return "the machine was restarted"
    if said is not None:
        return said
    return death_words(kills)


def death_words(kills: int | None) -> str:
    """Say how a process most likely died that said nothing.

    Args:
        kills: how many processes the kernel has killed for lack of memory since the process was
            last heard of; None when nobody counts them.
    """
    if kills is None:
        return "it was killed, or ran out of memory"
    if kills:
        noun = "process" if kills == 1 else "processes"
        return (
            "probably out of memory, for the kernel has killed "
            f"{kills:,} {noun} for lack of memory since"
        )
    return (
        "it was killed (kill -9, or the terminal, session or container that it ran in ended), "
        "and not by the kernel for lack of memory"
    )


def _rebooted(state: State) -> bool:
    return state.process is not None and state.process.boot_id != process.boot_id()


def _what_to_do(paths: RunPaths, *, as_asked: bool) -> str:
    if not any_checkpoint(paths.checkpoints):
        return nothing_saved_words(paths)
    more = "" if as_asked else "; worker.log may say more"
    return f"Resume the run to go on from its last checkpoint{more}."


def nothing_saved_words(paths: RunPaths) -> str:
    """Say of a run that ended without a checkpoint how to do what it was meant to do."""
    return f"{NOTHING_SAVED}. To start it anew: {anew_command(paths)}"


def anew_command(paths: RunPaths) -> str:
    """Return the command that makes a new run with the configuration of this one."""
    return f"llm-trainer train --config {shlex.quote(str(paths.config))}"


# ---------------------------------------------------------------------- what it said last


def last_words(worker_log: Path) -> str | None:
    """Say how the last process ended by what it printed at its end, if that tells."""
    return crash_words(_end_of(worker_log))


def crash_words(printed: str) -> str | None:
    """Find a fatal signal, an uncaught error or a refusal in what a worker printed last.

    Args:
        printed: the end of ``worker.log``; what processes before the last one wrote is left out.
    """
    said = [line for line in _BEGINS_LINE.split(printed)[-1].splitlines() if line.strip()]
    fatal = next((line for line in reversed(said) if line.startswith(_FATAL)), None)
    if fatal is not None:
        return f"it crashed ({fatal.removeprefix(_FATAL).strip()}; worker.log says where)"
    if not said:
        return None
    if _REFUSAL in said[-1]:
        return f"it could not begin ({said[-1].partition(_REFUSAL)[2].strip().rstrip('.')})"
    if _ends_in_traceback(said):
        return f"it ended by an error ({said[-1].strip()[:200]})"
    return None


def _ends_in_traceback(lines: list[str]) -> bool:
    """Say whether the last line is the error that ended the process, below its traceback.

    An error of a thread, or one that Python passed over, has ended nothing.
    """
    first = len(lines) - 1
    while first > 0 and lines[first - 1].startswith(" "):  # All of a traceback is indented.
        first -= 1
    if first == len(lines) - 1 or first == 0 or lines[first - 1] != _TRACEBACK:
        return False
    return first == 1 or not lines[first - 2].startswith(_IN_PASSING)


def _end_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_WORDS_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
