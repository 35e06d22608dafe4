"""What the dashboard costs and how long people wait for it, with large stores.

The store (``benchmarks/stores.py``) is made once and kept beside the other benchmark data. Pages
are measured in Chromium, everything else on the real server and a real worker.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Browser
from playwright.sync_api import Error as BrowserError

from benchmarks import browsing
from benchmarks.audience import Audience, audience
from benchmarks.livetraining import elapsed_seconds, times_done, training
from benchmarks.measuring import Figure, as_far_as, ratios
from benchmarks.options import Options
from benchmarks.server import Server, serving
from benchmarks.stores import make_store
from trainer.runs import RunStore
from trainer.store.metrics import SCHEMA_VERSION
from trainer.store.workspace import Workspace

TITLE = "The dashboard"
RUNS, POINTS, COUNT = 10_000, 1_000_000, 20
CLIENTS = 50
LOADS, ZOOMS, LISTS, STARTS = 5, 5, 60, 3
WINDOW_SECONDS, WINDOWS = 3.0, 10
WATCHED_SECONDS = 15.0
_FAILURES = (RuntimeError, OSError, BrowserError)


def measure(options: Options) -> list[Figure]:
    """Measure all of it, from the list of many runs to the pixel of a step."""
    home, long = store_of(options)
    figures = [*as_far_as("list of many runs", _run_list(options, home))]
    try:
        with browsing.chromium() as browser:
            figures += as_far_as("large store", _of_store(options, home, long, browser), _FAILURES)
            figures += as_far_as("live run", _of_live_run(options, browser), _FAILURES)
    except RuntimeError as error:
        figures.append(Figure.absent("pages", f"not measured: {error}"))
    return figures


def store_of(options: Options) -> tuple[Path, list[str]]:
    """Return the large workspace and its long runs; it is made where it is not there whole."""
    runs, points, count = (30, 20_000, 2) if options.smoke else (RUNS, POINTS, COUNT)
    kind = f"dashboard-v{SCHEMA_VERSION}-{runs}-{points}-{count}"
    home = (options.data_dir / kind).absolute()
    ids = home / "long-runs.txt"
    if not ids.exists():
        shutil.rmtree(home, ignore_errors=True)
        ids.parent.mkdir(parents=True)
        ids.write_text("\n".join(make_store(home, runs=runs, points=points, count=count)))
    return home, ids.read_text().split()


# ---------------------------------------------------------------------- the large store


def _of_store(
    options: Options, home: Path, long: Sequence[str], browser: Browser
) -> Iterator[Figure]:
    with serving(home) as server:
        server.seconds("/")
        yield from _pages(options, server, long, browser)
        with audience(server.url, long[0], CLIENTS) as clients:
            clients.do("watch")
            server.seconds("/")
            held = server.memory_bytes() / 2**20
    yield _asked(Figure.of(f"server, {CLIENTS} clients, all its processes", [held], "MiB"), "300")


def _run_list(options: Options, home: Path) -> Iterator[Figure]:
    first, later = [], []
    for _ in range(options.rounds(STARTS)):
        with serving(home) as server:
            first.append(server.seconds("/"))
            later += [server.seconds(path) for path in _list_addresses(options.rounds(LISTS))]
    yield _asked(Figure.of(f"list of {RUNS:,} runs, first load", first, "s"), "1.5")
    p95 = 1000 * percentile(later, 95)
    yield _asked(Figure.of("the same, p95 of those after it", [p95], "ms"), "100")


def _list_addresses(count: int) -> list[str]:
    kinds = ("/", "/?sort=-val_loss", "/?q=baseline", "/?status=failed", "/api/runs?limit=100")
    return [kinds[n % len(kinds)] for n in range(count)]


def _pages(
    options: Options, server: Server, long: Sequence[str], browser: Browser
) -> Iterator[Figure]:
    paints, drawn, zooms, weights = [], [], [], []
    # Another run each time: the server has not read it before either.
    for run_id in long[: options.rounds(LOADS)]:
        with browsing.visit(browser) as page:
            weight = browsing.Weight(page)
            page.goto(f"{server.url}/runs/{run_id}")
            drawn.append(browsing.drawn_ms(page) / 1000)
            paints.append(browsing.first_paint_ms(page))
            browsing.settle(page)
            weights.append(weight.kilobytes)
            zooms.append(browsing.zoom_ms(page))
    yield _asked(Figure.of(f"a run of {POINTS:,} points, to the drawn chart", drawn, "s"), "1")
    yield _asked(Figure.of("zoom into it: ask again, draw", zooms, "ms"), "200")
    yield _asked(Figure.of("first paint of its page", paints, "ms"), "300")
    yield _asked(Figure.of("scripts and styles of its page, first visit", weights, "kB"), "150")
    yield _asked(
        Figure.of("the same of all pages", [_weight_of_all(server, long, browser)], "kB"), "150"
    )
    compared = [_compare(server, long, browser) for _ in range(options.rounds(3))]
    what = f"{len(long)} runs of {POINTS:,} points compared, to the drawn charts"
    yield _asked(Figure.of(what, compared, "s"), "2.5")


def _weight_of_all(server: Server, long: Sequence[str], browser: Browser) -> float:
    pages = ("/", "/runs/new", f"/runs/{long[0]}", "/playground", "/help")
    compare = "/compare?" + "&".join(f"run={run_id}" for run_id in long[:2])
    with browsing.visit(browser) as page:
        weight = browsing.Weight(page)
        for path in (*pages, compare):
            page.goto(server.url + path)
            browsing.settle(page)
        return weight.kilobytes


def _compare(server: Server, long: Sequence[str], browser: Browser) -> float:
    with browsing.visit(browser) as page:
        page.goto(f"{server.url}/compare?" + "&".join(f"run={run_id}" for run_id in long))
        return browsing.drawn_ms(page, answers=len(long)) / 1000


# ---------------------------------------------------------------------- a live run


def _of_live_run(options: Options, browser: Browser) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        store = RunStore(Workspace(folder))
        run = stack.enter_context(training(options, store))
        server = stack.enter_context(serving(store.workspace.home))
        server.seconds("/")
        late = _lateness(store, run, server, browser, 4.0 if options.smoke else WATCHED_SECONDS)
        yield _asked(Figure.of("a step to its pixel, p50", [percentile(late, 50)], "s"), "")
        yield _asked(Figure.of("a step to its pixel, p95", [percentile(late, 95)], "s"), "1")
        with audience(server.url, run, CLIENTS) as clients:
            yield from _cost_of_watching(options, store, run, server, clients)


def _lateness(
    store: RunStore, run_id: str, server: Server, browser: Browser, seconds: float
) -> list[float]:
    """Return, for each step of a while, how long after it was done the page had shown it."""
    with browsing.visit(browser) as page:
        page.goto(f"{server.url}/runs/{run_id}")
        browsing.drawn_ms(page)
        browsing.settle(page)
        shown = browsing.steps_shown(page, seconds)
    return lateness(times_done(store, run_id), shown)


def lateness(done_at: dict[int, float], shown: Sequence[tuple[int, float]]) -> list[float]:
    """Return how long after each step a page had shown it, or a later one.

    Args:
        done_at: when each step was done, in Unix seconds.
        shown: the steps that were shown, in order, and when; the first only begins the count.
    """
    late = []
    for (before, _), (step, at) in itertools.pairwise(shown):
        late += [at - done_at[one] for one in range(before + 1, step + 1) if one in done_at]
    return late


def _cost_of_watching(
    options: Options, store: RunStore, run_id: str, server: Server, clients: Audience
) -> Iterator[Figure]:
    """Let the clients watch and rest by turns: all that changes is whether they are told."""
    seconds = 2.0 if options.smoke else WINDOW_SECONDS
    steps: dict[str, list[float]] = {"watch": [], "rest": []}
    spent: dict[str, list[float]] = {"watch": [], "rest": []}
    for n in range(2 * options.rounds(WINDOWS)):
        what = ("watch", "rest")[(n + n // 2) % 2]  # watch rest rest watch: a drift meets both.
        clients.do(what)
        step, processor = _window(store, run_id, server, seconds)
        steps[what].append(step)
        spent[what].append(processor)
    slower = [100 * (one - 1) for one in ratios(steps["watch"], steps["rest"])]
    own = [100 * (a - b) for a, b in zip(spent["watch"], spent["rest"], strict=True)]
    yield _asked(
        Figure.of(f"step time with {CLIENTS} watching (and running) here, more by", slower, "%"),
        "1",
    )
    yield _asked(Figure.of("server's processor time for them, of a core", own, "%"), "")
    yield _asked(Figure.of("a step", [1000 * one for one in steps["rest"]], "ms"), "")


def _window(store: RunStore, run_id: str, server: Server, seconds: float) -> tuple[float, float]:
    """Return the seconds a step, and the processor seconds a second of the server, of a while."""
    before, began = server.processor_seconds(), time.monotonic()
    first = elapsed_seconds(store, run_id)[-1]
    time.sleep(seconds)
    last = elapsed_seconds(store, run_id)[-1]
    spent = (server.processor_seconds() - before) / (time.monotonic() - began)
    return (last[1] - first[1]) / max(1, last[0] - first[0]), spent


# ---------------------------------------------------------------------- figures


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of several values, between two of them where it lies there."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _asked(figure: Figure, asked: str) -> Figure:
    return replace(figure, asked=f"≤ {asked}" if asked else "")
