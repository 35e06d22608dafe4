"""The managed training process: ``python -m trainer.worker``, started by :mod:`trainer.launch`.

It owns one run for its whole life: it holds the run's lock, and it alone writes the run's state,
metrics and checkpoints. Before it imports torch it waits until the run's device is free. Its exit
status is 0 for a run that completed or was stopped, 1 for one that failed.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import StoreError, TrainerError
from trainer.logs import LineHandler
from trainer.notify import notifying
from trainer.stopping import StopFlag, StopRequested
from trainer.store import process
from trainer.store.files import read_record, replace_file, write_record
from trainer.store.lock import RunLock
from trainer.store.oom import read_oom_kills
from trainer.store.queue import Place, Queue
from trainer.store.recorder import PEN, Recorder
from trainer.store.records import ACTIVE, ErrorRecord, State
from trainer.store.stop_request import release_reserve, reserve_stop_request
from trainer.store.truth import PROCESS_BEGINS
from trainer.store.workspace import RunPaths, Workspace
from trainer.vanishing import Guard
from trainer.waiting import Turn

log = logging.getLogger("trainer.worker")


@dataclass(frozen=True)
class Assignment:
    """What this process was started to do."""

    workspace: Workspace
    paths: RunPaths
    lock: RunLock
    place: Place
    checkpoint: str | None

    @property
    def held(self) -> tuple[RunLock, Place]:
        """What is this process's alone, and no child of it may hold."""
        return self.lock, self.place


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the run named by the arguments and return the exit status."""
    assignment = _read_arguments(arguments)
    faulthandler.enable()
    threading.excepthook = end_without_pen
    with contextlib.suppress(OSError):  # A full disk.
        sys.stderr.write(PROCESS_BEGINS.format(pid=os.getpid()) + "\n")
    stop = StopFlag(assignment.paths.stop_request)
    stop.listen()
    goodbye = notifying.begin(assignment.workspace, assignment.paths)
    try:
        train_log = _log_to(assignment.paths)
        recorder = _begin(assignment, stop, train_log)
        return _train(assignment, recorder, stop, goodbye)
    except (TrainerError, OSError, sqlite3.Error) as error:
        log.error("The run cannot begin: %s", error)
        _write_refusal(assignment.paths, error)
        return 1
    finally:
        release_reserve(assignment.paths)
        if goodbye is not None:
            goodbye.say(assignment.paths)
        # Everything is written; taking torch down takes a while, and nobody need wait for that.
        assignment.lock.release()
        _leave_queue(assignment.place)


def end_without_pen(failure: threading.ExceptHookArgs) -> None:
    """End the process when the thread that writes everything down has failed unexpectedly.

    Training that nobody records would be lost work that looks alive; its checkpoints are there.
    """
    if failure.thread is None or failure.thread.name != PEN or failure.exc_value is None:
        threading.__excepthook__(failure)
        return
    sys.__excepthook__(failure.exc_type, failure.exc_value, failure.exc_traceback)
    sys.stderr.flush()
    os._exit(1)


def _leave_queue(place: Place) -> None:
    """Let the next run begin; the memory of a GPU is free only when this process has ended."""
    if place.record.training_on in (None, "cpu"):
        place.release()


def _read_arguments(arguments: Sequence[str] | None) -> Assignment:
    parser = argparse.ArgumentParser(prog="trainer.worker", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--place-fd", type=int, required=True)
    parser.add_argument("--from", dest="checkpoint")
    options = parser.parse_args(arguments)
    workspace = Workspace(options.home)
    return Assignment(
        workspace=workspace,
        paths=workspace.paths(options.run_id),
        lock=RunLock.inherited(options.lock_fd),
        place=Place.inherited(Queue(workspace.queue_dir), options.place_fd),
        checkpoint=options.checkpoint,
    )


def _log_to(paths: RunPaths) -> LineHandler:
    """Write the training log to its file, and the same lines to what the process prints."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    to_file = LineHandler(os.open(paths.train_log, flags, 0o644))
    for handler in (to_file, LineHandler(sys.stderr.fileno())):
        logging.getLogger("trainer").addHandler(handler)
    logging.getLogger("trainer").setLevel(logging.INFO)
    logging.captureWarnings(True)
    return to_file


def _begin(assignment: Assignment, stop: StopFlag, train_log: LineHandler) -> Recorder:
    """Say that this process owns the run now."""
    state = read_record(assignment.paths.state, State)
    guard = Guard(assignment.paths, assignment.lock.descriptor)

    def look_around(pen: Recorder) -> None:
        guard.look(pen)
        _look_for_stop(pen, stop)
        train_log.retry()
        pen.unwritten(assignment.paths.train_log.name, train_log.problem)

    reserve_stop_request(assignment.paths)
    recorder = Recorder(assignment.paths, state, on_tick=look_around)
    recorder.update(
        **_beginning(assignment.place, state),
        process=process.identify(os.getpid()),
        oom_kills=read_oom_kills(),
        error=None,
    )
    # Whoever started the run sees its owner before the slow imports.
    recorder.flush()
    return recorder


def _write_refusal(paths: RunPaths, error: Exception) -> None:
    """Write why the run could not begin, where that can be written."""
    known = error.as_dict() if isinstance(error, TrainerError) else None
    record = ErrorRecord(**known) if known else ErrorRecord(kind="store", message=f"{error}.")
    with contextlib.suppress(OSError, StoreError):
        state = read_record(paths.state, State)
        if state.status in ACTIVE:
            ended = dict.fromkeys(("phase", "progress", "process", "eta_seconds", "queue"))
            refused = msgspec.structs.replace(state, status="failed", error=record, **ended)
            write_record(paths.state, refused)


def _beginning(place: Place, state: State) -> dict[str, str | None]:
    """A run that waits stays queued, as the launcher has written it."""
    if place.record.waits:
        return {"status": "queued", "phase": state.phase}
    return {"status": "preparing", "phase": "starting"}


def _look_for_stop(recorder: Recorder, stop: StopFlag) -> None:
    """Tell every viewer at once that the run is ending, whatever long step it is still in."""
    _count_oom_kills(recorder)
    stop.poll()
    if stop.requested and recorder.state.status in ("preparing", "running"):
        recorder.update(status="stopping")


def _count_oom_kills(recorder: Recorder) -> None:
    """Keep the kernel's counts: when this process is gone, viewers see whether they grew."""
    counts = read_oom_kills()
    if counts != recorder.state.oom_kills:
        recorder.update(oom_kills=counts)


def _train(
    assignment: Assignment, recorder: Recorder, stop: StopFlag, goodbye: notifying.Goodbye | None
) -> int:
    """Train, and write how it ended whatever happens."""
    ended = dict.fromkeys(("phase", "progress", "process", "eta_seconds", "queue"))
    turn = Turn(assignment.place, recorder, assignment.workspace, assignment.paths)
    try:
        with stop.abandoning():
            device = turn.wait()
            from trainer.engine.loop import train  # Imports torch: seconds.
            from trainer.engine.trainee import Job

            config = _configuration(assignment, recorder)
        job = Job(
            config=config,
            paths=assignment.paths,
            data_dir=assignment.workspace.data_dir,
            recorder=recorder,
            stop=stop,
            checkpoint=assignment.checkpoint,
            inherited_fds=[held.descriptor for held in (*assignment.held, goodbye) if held],
            queued_for=device,
            follow_device=turn.follow,
        )
        outcome = train(job)
    except StopRequested:
        recorder.event("stopped", _stopped_early(recorder.state))
        recorder.close(status="stopped", **ended)
        return 0
    except TrainerError as error:
        return _fail(recorder, ErrorRecord(**error.as_dict()), ended)
    except MemoryError as error:
        return _fail(recorder, _out_of_memory(str(error)), ended)
    except Exception as error:
        log.exception("Training failed.")
        return _fail(recorder, _unexpected(error), ended)
    recorder.event(outcome, f"The run is {outcome}.", step=recorder.state.step)
    recorder.close(status=outcome, **ended)
    return 0


def _configuration(assignment: Assignment, recorder: Recorder) -> Config:
    """Read the run's configuration; one that the resume set aside is in the checkpoint too."""
    path = assignment.paths.config
    if path.exists() or assignment.checkpoint is None:
        return configuration.load_stored(path)
    from trainer.engine.resuming import saved_configuration

    config, name = saved_configuration(assignment.paths, assignment.checkpoint)
    replace_file(path, configuration.to_toml(config, secrets=True).encode())
    recorder.event("damaged", f"config.toml was restored from {name}.pt.", level="warning")
    return config


def _stopped_early(state: State) -> str:
    if state.queue is not None:
        return "Stopped before it started."
    return "Stopped before its first step; there is nothing new to save."


def _fail(recorder: Recorder, error: ErrorRecord, ended: dict[str, None]) -> int:
    recorder.event("failed", error.message, level="error", step=recorder.state.step)
    recorder.close(status="failed", error=error, **ended)
    return 1


def _unexpected(error: Exception) -> ErrorRecord:
    from trainer.engine.out_of_memory import is_out_of_memory

    if is_out_of_memory(error):
        return _out_of_memory(str(error))
    return ErrorRecord(
        kind="internal",
        message=f"Training failed unexpectedly: {type(error).__name__}: {error}",
        hint="worker.log in the run folder holds the whole story; please report it.",
    )


def _out_of_memory(detail: str) -> ErrorRecord:
    return ErrorRecord(
        kind="memory",
        message=f"There was not enough memory: {detail}",
        hint="Lower training.batch_size and raise training.grad_accum_steps by the same factor, "
        "or choose a smaller model or a shorter training.seq_length.",
    )


if __name__ == "__main__":
    sys.exit(main())
