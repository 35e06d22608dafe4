"""The managed training process: ``python -m trainer.worker``, started by :mod:`trainer.launch`.

It owns one run for its whole life: it holds the run's lock, and it alone writes the run's state,
metrics and checkpoints. Its exit status is 0 for a run that completed or was stopped, 1 for one
that failed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from trainer import config as configuration
from trainer.errors import TrainerError
from trainer.stopping import StopFlag, StopRequested
from trainer.store import process
from trainer.store.files import read_record
from trainer.store.lock import RunLock
from trainer.store.recorder import Recorder
from trainer.store.records import ErrorRecord, State
from trainer.store.workspace import RunPaths, Workspace

log = logging.getLogger("trainer.worker")


@dataclass(frozen=True)
class Assignment:
    """What this process was started to do."""

    workspace: Workspace
    paths: RunPaths
    lock: RunLock
    checkpoint: str | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the run named by the arguments and return the exit status."""
    assignment = _read_arguments(arguments)
    _log_to(assignment.paths)
    stop = StopFlag(assignment.paths.stop_request)
    stop.listen()
    try:
        recorder = _begin(assignment, stop)
        return _train(assignment, recorder, stop)
    except (TrainerError, OSError, sqlite3.Error) as error:
        log.error("The run cannot begin: %s", error)
        return 1
    finally:
        # Everything is written; taking torch down takes a while, and nobody need wait for that.
        assignment.lock.release()


def _read_arguments(arguments: Sequence[str] | None) -> Assignment:
    parser = argparse.ArgumentParser(prog="trainer.worker", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--lock-fd", type=int, required=True)
    parser.add_argument("--from", dest="checkpoint")
    options = parser.parse_args(arguments)
    workspace = Workspace(options.home)
    lock = RunLock.inherited(options.lock_fd)
    return Assignment(workspace, workspace.paths(options.run_id), lock, options.checkpoint)


def _log_to(paths: RunPaths) -> None:
    """Write the training log to its file, and the same lines to what the process prints."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s")
    formatter.converter = time.gmtime
    formatter.datefmt = "%Y-%m-%dT%H:%M:%S"
    to_file = logging.FileHandler(paths.train_log, encoding="utf-8")
    for handler in (to_file, logging.StreamHandler()):
        handler.setFormatter(formatter)
        logging.getLogger("trainer").addHandler(handler)
    logging.getLogger("trainer").setLevel(logging.INFO)
    logging.captureWarnings(True)


def _begin(assignment: Assignment, stop: StopFlag) -> Recorder:
    """Say that this process owns the run now."""
    state = read_record(assignment.paths.state, State)
    recorder = Recorder(assignment.paths, state, on_tick=lambda pen: _look_for_stop(pen, stop))
    recorder.update(
        status="preparing",
        phase="starting",
        process=process.identify(os.getpid()),
        error=None,
    )
    # Whoever started the run sees its owner before the slow imports.
    recorder.flush()
    return recorder


def _look_for_stop(recorder: Recorder, stop: StopFlag) -> None:
    """Tell every viewer at once that the run is ending, whatever long step it is still in."""
    stop.poll()
    if stop.requested and recorder.state.status in ("preparing", "running"):
        recorder.update(status="stopping")


def _train(assignment: Assignment, recorder: Recorder, stop: StopFlag) -> int:
    """Train, and write how it ended whatever happens."""
    ended = {"phase": None, "progress": None, "process": None, "eta_seconds": None}
    try:
        with stop.abandoning():
            from trainer.engine.loop import train  # Imports torch: seconds.
            from trainer.engine.trainee import Job

            config = configuration.load(assignment.paths.config)
        job = Job(
            config=config,
            paths=assignment.paths,
            data_dir=assignment.workspace.data_dir,
            recorder=recorder,
            stop=stop,
            checkpoint=assignment.checkpoint,
            inherited_fds=(assignment.lock.descriptor,),
        )
        outcome = train(job)
    except StopRequested:
        recorder.event("stopped", "Stopped before its first step; there is nothing new to save.")
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
