"""What a training run loses to those who write on the same machine.

In one run, by turns: nobody holds a model, the models' process holds one and rests, a page has one
text written after the other, or several at once. What else the machine does, and how it drifts,
meets all of these alike.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.callers import Page
from benchmarks.livetraining import times_done, training
from benchmarks.measuring import Figure, median_interval
from benchmarks.options import Options
from benchmarks.server import processor_seconds
from benchmarks.workplace import Workplace

ROUNDS, WINDOW_SECONDS = 14, 2.5
TOKENS = 200
WRITERS = {"nobody": 0, "a model at rest": 0, "one text": 1, "four texts at once": 4}
_ALONE, _IDLE, *_GENERATING = WRITERS


@dataclass(frozen=True)
class Window:
    """A while in which one thing was so, in Unix seconds, and who took how much of a core."""

    kind: str
    began: float
    ended: float
    service: float = 0.0
    run: float = 0.0


def figures(options: Options, place: Workplace, seeds: Sequence[int]) -> Iterator[Figure]:
    """Tell how much longer a step takes beside each kind of writing, and who took what."""
    with training(options, place.store) as run_id, Page(place.server.url, place.model) as page:
        windows = [
            _measured(options, place, run_id, kind, page, seeds)
            for n in range(options.rounds(ROUNDS))
            # There and back: a drift meets all kinds.
            for kind in (WRITERS if n % 2 == 0 else reversed(WRITERS))
        ]
        done = times_done(place.store, run_id)
    yield from told(windows, sorted(done.values()))


def _measured(
    options: Options, place: Workplace, run_id: str, kind: str, page: Page, seeds: Sequence[int]
) -> Window:
    if kind == _ALONE:
        place.end_models_process()
    else:
        page.write(2, seeds[0])  # The model is there from here on.
    with _writing(page, itertools.cycle(seeds), WRITERS[kind]):
        return _window(options, place, run_id, kind)


@contextmanager
def _writing(page: Page, seeds: Iterator[int], writers: int) -> Iterator[None]:
    """Have so many texts written at any time, one after the other, and see to the end of them."""
    enough = threading.Event()

    def write() -> None:
        while not enough.is_set():
            page.write(TOKENS, next(seeds))

    threads = [threading.Thread(target=write, daemon=True) for _ in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def _window(options: Options, place: Workplace, run_id: str, kind: str) -> Window:
    worker = [psutil.Process(_pid(place, run_id))]
    time.sleep(0.2)  # What came before is over.
    began, service, run = time.time(), place.models_processes(), processor_seconds(worker)
    taken = processor_seconds(service)
    time.sleep(1.0 if options.smoke else WINDOW_SECONDS)
    ended = time.time()
    seconds = ended - began
    return Window(
        kind,
        began,
        ended,
        service=(processor_seconds(service) - taken) / seconds,
        run=(processor_seconds(worker) - run) / seconds,
    )


def _pid(place: Workplace, run_id: str) -> int:
    process = place.store.get(run_id).state.process
    if process is None:
        raise RuntimeError("the run has no process")
    return process.pid


# ---------------------------------------------------------------------- figures


def told(windows: Sequence[Window], done: Sequence[float]) -> Iterator[Figure]:
    """Say what the windows tell.

    Args:
        windows: round by round, each kind once a round.
        done: when each step of the run was done, in Unix seconds, in order.
    """
    steps = {kind: [] for kind in WRITERS}  # type: dict[str, list[float]]
    for window in windows:
        steps[window.kind].append(seconds_a_step(done, window.began, window.ended))
    yield Figure.of("a step alone", [1000 * one for one in steps[_ALONE]], "ms")
    for kind in (_IDLE, *_GENERATING):
        slower = [100 * (a / b - 1) for a, b in zip(steps[kind], steps[_ALONE], strict=True)]
        low, high = median_interval(slower)
        what = f"a step beside {kind} takes longer by"
        yield Figure(what, statistics.median(slower), low, high, "%")
    for kind in WRITERS:
        here = [window for window in windows if window.kind == kind]
        run = [100 * window.run for window in here]
        yield Figure.of(f"the run takes, beside {kind}", run, "% of a core")
        service = [100 * window.service for window in here]
        yield Figure.of(f"the models' process takes, {kind}", service, "% of a core")


def seconds_a_step(done: Sequence[float], began: float, ended: float) -> float:
    """Return the mean length of the steps that lie within a while.

    Args:
        done: when each step was done, in order.

    Raises:
        RuntimeError: not even one does.
    """
    within = [at for at in done if began <= at <= ended]
    if len(within) < 2:
        raise RuntimeError("no step lies within a window")
    return (within[-1] - within[0]) / (len(within) - 1)
