"""How quickly trained models write for pages and programs, and what that costs others.

All is real: a run trains a small model, ``llm-trainer web`` serves its workspace, a page asks over
Socket.IO and a program at ``/v1/completions``, and one process holds the models for both.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from playwright.sync_api import Error as BrowserError

from benchmarks import beside, clicking, rates, reloading
from benchmarks.callers import (
    Caller,
    Page,
    Program,
    bare,
    in_turn,
    seeds_of_long_texts,
    together,
)
from benchmarks.measuring import Figure, as_far_as, ratios
from benchmarks.options import Options
from benchmarks.workplace import Workplace, workplace
from trainer.errors import TrainerError

TITLE = "Serving"
CLICKS, COLD_STARTS, CROWDS, STOPS = 25, 5, 5, 11
AT_ONCE = (4, 16)
READING_SECONDS = 1.0
"""From a page that is opened to the click on it."""

_FAILURES = (RuntimeError, OSError, BrowserError, TrainerError)


def measure(options: Options) -> list[Figure]:
    """Measure what is asked of serving, part by part."""
    tokens = 20 if options.smoke else 200
    with (
        workplace(options) as place,
        bare(place.checkpoint) as generator,
        Page(place.server.url, place.model) as page,
    ):
        seeds = seeds_of_long_texts(generator, tokens, max(AT_ONCE))
        stream = Program(place.server.url, place.model, stream=True)
        parts = {
            "first token": _first_tokens(options, place, page, stream),
            "tokens a second": rates.figures(options, place, generator, page, tokens, seeds),
            "Chromium": clicking.figures(options, place, generator, tokens, seeds),
            "requests at once": _crowds(options, stream, tokens // 2, seeds),
            "stopping": _stops(options, page, tokens // 5, seeds),
            "a run beside it": beside.figures(options, place, seeds),
            "many models": reloading.figures(options, place),
        }
        return [one for part, found in parts.items() for one in as_far_as(part, found, _FAILURES)]


# ---------------------------------------------------------------------- the first token


def _first_tokens(
    options: Options, place: Workplace, page: Page, stream: Program
) -> Iterator[Figure]:
    callers: dict[str, Caller] = {"a page": page, "a stream": stream}
    for name, caller in callers.items():
        caller.write(2, seed=1)
        waits = [_milliseconds(caller) for _ in range(options.rounds(CLICKS))]
        yield Figure.of(f"first token of {name}, model loaded", waits, "ms", asked="≤ 100")
    for name, caller in callers.items():
        waits = [_cold(place, caller) for _ in range(options.rounds(COLD_STARTS))]
        yield Figure.of(f"first token of {name}, cold", waits, "s", asked="≤ 2.5")
    waits = [1000 * _after_reading(place) for _ in range(options.rounds(COLD_STARTS))]
    what = f"first token of a page that was opened cold {READING_SECONDS:g} s before"
    yield Figure.of(what, waits, "ms", asked="≤ 2500")


def _milliseconds(caller: Caller) -> float:
    return 1000 * caller.write(2, seed=1).first_seconds


def _cold(place: Workplace, caller: Caller) -> float:
    """Return the seconds to the first token when no process holds models."""
    place.end_models_process()
    return caller.write(2, seed=1).first_seconds


def _after_reading(place: Workplace) -> float:
    """Return the same of somebody who looks at the page before the click."""
    place.end_models_process()
    with Page(place.server.url, place.model) as page:
        place.server.seconds("/playground")
        page.look()
        time.sleep(READING_SECONDS)
        return page.write(2, seed=1).first_seconds


# ---------------------------------------------------------------------- many, and an end


def _crowds(
    options: Options, caller: Caller, tokens: int, seeds: Sequence[int]
) -> Iterator[Figure]:
    for count in AT_ONCE:
        crowd = seeds[:count]
        turns, crowds = [], []
        for _ in range(options.rounds(CROWDS)):
            turns.append(in_turn(caller, tokens, crowd))
            crowds.append(together(caller, tokens, crowd))
        rates = [one.tokens_per_second for one in crowds]
        yield Figure.of(f"{count} streams at once", rates, "tok/s")
        gains = ratios(rates, [one.tokens_per_second for one in turns])
        asked = "≥ 3" if count == max(AT_ONCE) else ""
        yield Figure.of(f"{count} at once, times the speed in turn", gains, "x", asked=asked)
        waits = [1000 * one.first_seconds for one in crowds]
        yield Figure.of(f"first token of the last of {count}", waits, "ms")


def _stops(options: Options, page: Page, tokens: int, seeds: Sequence[int]) -> Iterator[Figure]:
    stops = [page.stop_after(tokens, seed) for seed in seeds[: options.rounds(STOPS)]]
    seconds, more = zip(*stops, strict=True)
    yield Figure.of("a click on stop, to the end of the text", [1000 * s for s in seconds], "ms")
    yield Figure.of("tokens that the page had not seen by then", more, "tokens")
