"""How much of the bare generator's speed arrives at a page or a program, and what takes the rest.

All write the same text by turns, one at a time. The processor time of each process says, on a
noisy machine too, what a token costs on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import psutil

from benchmarks.callers import SHOWN, Bare, Caller, Page, Program
from benchmarks.measuring import Figure, ratios
from benchmarks.options import Options
from benchmarks.server import processor_seconds
from benchmarks.workplace import Workplace

ROUNDS = 11
_ALONE, _SHOWING = "the bare generator", "the bare generator that tells alternatives too"
_BESIDE = {"a stream": _ALONE, "a program": _ALONE, "a page": _SHOWING}
"""Who is compared with which of the two; what a page shows is work for the generator."""

Spent = Callable[[], tuple[float, float]]
"""Gives the processor seconds so far of the process that writes, and of the server."""


@dataclass
class Taken:
    """The texts of one caller: their speeds, and what they took in all."""

    tokens_per_second: list[float] = field(default_factory=list)
    tokens: int = 0
    writer_seconds: float = 0.0
    server_seconds: float = 0.0

    def add(self, caller: Caller, tokens: int, seed: int, spent: Spent) -> None:
        """Have one more text written."""
        writer, server = spent()
        written = caller.write(tokens, seed)
        writer_after, server_after = spent()
        self.tokens_per_second.append(written.tokens_per_second)
        self.tokens += written.tokens
        self.writer_seconds += writer_after - writer
        self.server_seconds += server_after - server


def figures(
    options: Options,
    place: Workplace,
    generator: Bare,
    page: Page,
    tokens: int,
    seeds: Sequence[int],
) -> Iterator[Figure]:
    """Measure by turns, and tell speeds, shares of the bare generator's, and processor time."""
    stream = Program(place.server.url, place.model, stream=True)
    callers: dict[str, Caller] = {
        _ALONE: generator,
        _SHOWING: replace(generator, more=SHOWN),
        "a stream": stream,
        "a program": replace(stream, stream=False),
        "a page": page,
    }
    taken = {name: Taken() for name in callers}
    for caller in callers.values():
        caller.write(tokens, seeds[0])
    for seed in seeds[: options.rounds(ROUNDS)]:
        for name, caller in callers.items():
            spent = place.processor_seconds if name in _BESIDE else _alone(generator)
            taken[name].add(caller, tokens, seed, spent)
    yield from told(taken)


def _alone(generator: Bare) -> Spent:
    process = psutil.Process(generator.process.pid)
    return lambda: (processor_seconds([process]), 0.0)


def told(taken: dict[str, Taken]) -> Iterator[Figure]:
    """Say what the texts of each caller tell."""
    for name, one in taken.items():
        yield Figure.of(f"one text of {name}", one.tokens_per_second, "tok/s")
    for name, than in _BESIDE.items():
        speeds = taken[name].tokens_per_second, taken[than].tokens_per_second
        shares = [100 * share for share in ratios(*speeds)]
        yield Figure.of(f"{name}, of {than}", shares, "%", asked="≥ 90")
    for name, one in taken.items():
        writer, server = 1000 * one.writer_seconds, 1000 * one.server_seconds
        who = "the models' process" if name in _BESIDE else "it"
        yield Figure.of(f"{name}: {who} computes", [writer / one.tokens], "ms a token")
        if name in _BESIDE:
            yield Figure.of(f"{name}: the server computes", [server / one.tokens], "ms a token")
