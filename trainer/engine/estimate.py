"""What a run will take, found out by beginning it: ``python -m trainer.engine.estimate``.

A run of the very configuration is set up in a scratch folder; a few of its steps, an evaluation's
batch and the beginning of a sample are timed, compiled where the run would be compiled, and the
whole is worked out from that. Only the token files stay, under ``data/``, for the run itself.

It prints JSON documents, one a line: ``{"phase": ...}`` while it works, and at last
``{"estimate": {...}}``, ``{"error": {...}}``, or ``{"tokenized": true}`` when it had to make the
token files first: then it must be started again, since memory is measured in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

from trainer import config as configuration
from trainer.engine.out_of_memory import Shortage, unless_out_of_memory
from trainer.engine.peak_memory import forget_gpu_peak, peak_bytes
from trainer.engine.rehearsal import rehearse
from trainer.engine.setup import set_up
from trainer.engine.step import take_step
from trainer.engine.timing import extrapolated_step_seconds, seconds_left
from trainer.engine.trainee import Job, Trainee
from trainer.engine.utilisation import measure_peak
from trainer.errors import TrainerError, TrainingError
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder
from trainer.store.records import State, now
from trainer.store.workspace import RunPaths

BUDGET_SECONDS = 4.0
"""Steps are repeated for so long, after the first."""

TOKENIZING = {"training tokenizer", "tokenizing"}
"""Phases after which the process is larger than the worker of the run will be."""

_ENOUGH_STEPS = 10
_TIMED_MICRO_BATCHES = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Estimate the configuration in the scratch folder and return the exit status."""
    parser = argparse.ArgumentParser(prog="trainer.engine.estimate", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="scratch, with config.toml")
    parser.add_argument("--data", type=Path, required=True, help="the workspace's data folder")
    parser.add_argument(
        "--while-asked", action="store_true", help="end when standard input is closed"
    )
    options = parser.parse_args(arguments)
    if options.while_asked:
        threading.Thread(target=_end_with_the_asker, daemon=True).start()
    try:
        answer = unless_out_of_memory(partial(_answer, options.folder, options.data))
        if isinstance(answer, Shortage):
            raise _does_not_fit(answer)
    except TrainerError as error:
        _print({"error": error.as_dict()})
        return error.exit_code
    _print(answer)
    return 0


def _end_with_the_asker() -> None:
    """End this process once nobody is there to read its answer, however its asker ended."""
    sys.stdin.buffer.read()
    os._exit(1)


def _print(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _does_not_fit(shortage: Shortage) -> TrainingError:
    return TrainingError(
        f"There is not enough memory for this configuration: {shortage.detail}",
        "Choose a smaller model (model.layers, model.width) or vocabulary (data.vocab_size).",
    )


def _answer(folder: Path, data_dir: Path) -> dict[str, Any]:
    began = time.time()
    paths = RunPaths("dry-run", folder, folder / "checkpoints")
    phases = _Phases()
    state = State(run_id=paths.run_id, created_at=now(), updated_at=now())
    recorder = Recorder(paths, state, on_tick=phases.look)
    try:
        job = Job(
            config=configuration.load(paths.config),
            paths=paths,
            data_dir=data_dir,
            recorder=recorder,
            stop=StopFlag(paths.stop_request),
        )
        trainee = set_up(job, time.monotonic())
        if phases.seen & TOKENIZING:
            return {"tokenized": True}
        imports_seconds = began - psutil.Process().create_time()
        return {"estimate": estimate(job, trainee, imports_seconds)}
    finally:
        recorder.close()


class _Phases:
    """Prints each phase once, as it begins."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def look(self, recorder: Recorder) -> None:
        phase = recorder.state.phase
        if phase is not None and phase not in self.seen:
            self.seen.add(phase)
            _print({"phase": phase})


def estimate(job: Job, trainee: Trainee, imports_seconds: float) -> dict[str, Any]:
    """Try out a run that is set up, and work out the whole of it.

    Args:
        imports_seconds: from the start of a process to that of the set-up.

    Returns:
        The document of ``train --dry-run --json``; times in seconds, memory in bytes.
    """
    plan, costs, place = trainee.plan, trainee.costs, trainee.device
    measure_peak(place, trainee.precision)
    forget_gpu_peak(place)
    rehearse(trainee, whole_batch=True)
    starting_seconds = imports_seconds + trainee.elapsed_seconds()
    job.recorder.update(phase="compiling" if trainee.compiled.active else "timing steps")
    compiling_seconds, step_seconds = _time_steps(job, trainee)
    costs.step.expect(step_seconds)
    training_seconds = seconds_left(plan, 0, costs) or 0.0
    return {
        "parameters": sum(weight.numel() for weight in trainee.model.parameters()),
        "dataset": trainee.tokens.label,
        "tokens": plan.total_steps * trainee.batches.tokens_per_step,
        "tokens_known": True,
        "steps": plan.total_steps,
        "steps_per_epoch": plan.steps_per_epoch,
        "epochs": trainee.config.training.epochs,
        "evaluations": plan.evaluations_after(0),
        "estimated_seconds": starting_seconds + compiling_seconds + training_seconds,
        "estimated_memory_bytes": peak_bytes(place),
        "tokens_per_second": trainee.batches.tokens_per_step / step_seconds,
        "device": str(place),
        "device_name": job.recorder.state.device_name,
        "precision": trainee.precision,
        "compile": trainee.compiled.active,
        "notices": job.recorder.state.notices,
        "warnings": job.recorder.state.warnings,
        "seconds": {
            "starting": starting_seconds,
            "compiling": compiling_seconds,
            "step": step_seconds,
            "evaluation": costs.evaluation.value,
            "samples_and_checkpoint": costs.keeping.value,
            "last_checkpoint": costs.writing.value,
        },
    }


def _time_steps(job: Job, trainee: Trainee) -> tuple[float, float]:
    """Return the seconds that the first step takes longer than others, and those of the others.

    Of a step of many micro-batches only a few are done: the others take as long.
    """
    all_of_them = trainee.config.training.grad_accum_steps
    few = min(all_of_them, _TIMED_MICRO_BATCHES)
    first = _seconds_of_step(job, trainee, few)
    job.recorder.update(phase="timing steps")
    usual = _usual_seconds(job, trainee, few)
    warm_up = max(0.0, first - usual)
    if few == all_of_them:
        return warm_up, usual
    one = _usual_seconds(job, trainee, 1)
    return warm_up, extrapolated_step_seconds(one, usual, few=few, all_of_them=all_of_them)


def _usual_seconds(job: Job, trainee: Trainee, micro_batches: int) -> float:
    """Return the median over some steps."""
    taken: list[float] = []
    while len(taken) < _ENOUGH_STEPS and sum(taken) < BUDGET_SECONDS:
        taken.append(_seconds_of_step(job, trainee, micro_batches))
    return statistics.median(taken)


def _seconds_of_step(job: Job, trainee: Trainee, micro_batches: int) -> float:
    """Do a step of so many micro-batches, always the first ones of the run."""
    began = time.monotonic()
    batches = [trainee.batches.batch(0, micro) for micro in range(micro_batches)]
    take_step(job, trainee, 0, batches)
    if trainee.device.type == "cuda":
        torch.cuda.synchronize(trainee.device)
    return time.monotonic() - began


if __name__ == "__main__":
    sys.exit(main())
