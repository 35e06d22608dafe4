"""What metrics, telemetry and logging cost the training step.

Two answers. The exact one adds up what is spent on them: the time the loop takes to record a
step, and the processor time of the two threads that write and that read the machine. The plain
one is the difference between trainings with all of it and with stand-ins that do nothing; it
drowns in whatever else the machine does.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast
from unittest import mock

import msgspec

from benchmarks.measuring import Figure, ratios
from benchmarks.options import Options
from benchmarks.product import fresh_state, scratch_run
from trainer.engine import loop
from trainer.engine.trainee import Job
from trainer.stopping import StopFlag
from trainer.store.recorder import Recorder
from trainer.store.workspace import RunPaths

TITLE = "Cost of metrics, telemetry and logging"
ROUNDS, STEPS = 6, 25


@dataclass
class Watch:
    """When the steps of a training ended, and what recording them took, all in seconds."""

    step_ends: list[float] = field(default_factory=list)
    recording: list[float] = field(default_factory=list)
    writing_at: list[float] = field(default_factory=list)
    telemetry_at: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the end of the first step to that of the last."""
        return self.step_ends[-1] - self.step_ends[0]

    @property
    def seconds_per_step(self) -> float:
        return self.seconds / (len(self.step_ends) - 1)


class NoRecorder:
    """Takes what a recorder takes and writes nothing; what the engine asks again is kept."""

    def __init__(self) -> None:
        self.state = fresh_state()

    def update(self, **changes: Any) -> None:
        self.state = msgspec.structs.replace(self.state, **changes)

    def nothing(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    add = event = notice = trouble = unwritten = cut_after = close = nothing

    def flush(self, *_: float) -> bool:
        """Say that all is written."""
        return True


def measure(options: Options) -> list[Figure]:
    """Train shortly, with and without, by turns."""
    steps = 8 if options.smoke else STEPS
    recorded, silent = [], []
    for _ in range(options.rounds(ROUNDS)):
        silent.append(_train(options, steps, _silent))
        recorded.append(_train(options, steps, _recorded))
    return [*_exact(recorded), *_difference(recorded, silent)]


def _train(
    options: Options, steps: int, recorder_of: Callable[[ExitStack, RunPaths, Watch], Recorder]
) -> Watch:
    config = options.configuration("training.compile=off", "training.epochs=1000")
    watch = Watch()
    with ExitStack() as stack:
        paths = stack.enter_context(scratch_run())
        stop = StopFlag(paths.stop_request)
        recorder = recorder_of(stack, paths, watch)
        stack.enter_context(_steps_watched(watch, stop, steps))
        loop.train(Job(config, paths, options.data_dir.absolute(), recorder, stop))
    return watch


def _recorded(stack: ExitStack, paths: RunPaths, watch: Watch) -> Recorder:
    """Give the real recorder, and have the log written to a file as the worker does."""
    stack.enter_context(_logged(paths))
    recorder = _TimedRecorder(paths, watch)
    stack.callback(recorder.close)
    return recorder


def _silent(stack: ExitStack, _: RunPaths, __: Watch) -> Recorder:
    stack.enter_context(mock.patch.object(loop, "start_telemetry", mock.Mock()))
    stack.enter_context(mock.patch.object(loop, "record_step", mock.Mock()))
    return cast(Recorder, NoRecorder())


class _TimedRecorder(Recorder):
    """The real recorder; its threads tell the processor time that they have taken."""

    def __init__(self, paths: RunPaths, watch: Watch) -> None:
        self._watch = watch
        super().__init__(paths, fresh_state(), on_tick=self._look)

    def _look(self, _: Recorder) -> None:
        if self._watch.step_ends:
            self._watch.writing_at.append(time.thread_time())

    def add(self, table: str, row: dict[str, Any]) -> None:
        super().add(table, row)
        if table == "system" and self._watch.step_ends:
            self._watch.telemetry_at.append(time.thread_time())


@contextlib.contextmanager
def _logged(paths: RunPaths) -> Iterator[None]:
    log, to_file = logging.getLogger("trainer"), logging.FileHandler(paths.train_log)
    level = log.level
    log.addHandler(to_file)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(to_file)
        log.setLevel(level)
        to_file.close()


@contextlib.contextmanager
def _steps_watched(watch: Watch, stop: StopFlag, steps: int) -> Iterator[None]:
    """Time the recording of each step, and ask for the end after so many."""
    record = vars(loop)["record_step"]

    def timed(*step: Any) -> None:
        began = time.perf_counter()
        record(*step)
        watch.step_ends.append(time.perf_counter())
        watch.recording.append(watch.step_ends[-1] - began)
        stop.requested = len(watch.step_ends) > steps

    with mock.patch.object(loop, "record_step", timed):
        yield


# ---------------------------------------------------------------------- figures


def _exact(watches: list[Watch]) -> Iterator[Figure]:
    recording = [1e6 * statistics.mean(watch.recording) for watch in watches]
    yield Figure.of("recording a step, in the loop", recording, "µs")
    parts = [shares(watch) for watch in watches]
    names = ("recording", "thread that writes", "thread that reads the machine")
    for name, values in zip(names, zip(*parts, strict=True), strict=True):
        yield Figure.of(f"{name}, of the time of a core", values, "%")
    yield Figure.of("all three, at most so much of a step", [sum(p) for p in parts], "%")


def shares(watch: Watch) -> tuple[float, float, float]:
    """Return what recording and the two threads took, each in percent of the training's time."""
    seconds = watch.seconds_per_step * len(watch.recording)
    spent = (sum(watch.recording), _spent(watch.writing_at), _spent(watch.telemetry_at))
    return cast(tuple[float, float, float], tuple(100 * part / seconds for part in spent))


def _spent(thread_times: list[float]) -> float:
    return thread_times[-1] - thread_times[0] if thread_times else 0.0


def _difference(recorded: list[Watch], silent: list[Watch]) -> Iterator[Figure]:
    with_all = [watch.seconds_per_step for watch in recorded]
    without = [watch.seconds_per_step for watch in silent]
    yield Figure.of("a step with all of it", [1000 * s for s in with_all], "ms")
    yield Figure.of("a step with stand-ins", [1000 * s for s in without], "ms")
    slower = [100 * (ratio - 1) for ratio in ratios(with_all, without)]
    yield Figure.of("difference of the two, with the machine's noise", slower, "%")
