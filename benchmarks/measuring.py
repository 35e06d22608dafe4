"""What the benchmarks share: timing, figures, tables, and the machine they ran on."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured row: what, the median, the spread, and the unit.

    Where nothing could be measured there are no values, and ``missing`` says why.
    """

    what: str
    median: float | None
    lowest: float | None
    highest: float | None
    unit: str
    missing: str | None = None
    asked: str = ""
    """What the figure ought to be, where somebody has asked for something."""

    @classmethod
    def of(cls, what: str, values: Sequence[float], unit: str, asked: str = "") -> Figure:
        """Take the median of several values."""
        median = statistics.median(values)
        return cls(what, median, min(values), max(values), unit, asked=asked)

    @classmethod
    def absent(cls, what: str, why: str) -> Figure:
        """Say why there is no figure."""
        return cls(what, None, None, None, "", why)

    def row(self) -> str:
        """Write the figure as a row of a Markdown table."""
        if self.median is None or self.lowest is None or self.highest is None:
            return f"| {self.what} | {self.missing} | | |"
        spread = f"{_short(self.lowest)} – {_short(self.highest)}"
        if self.lowest == self.highest:
            spread = ""
        return f"| {self.what} | {_short(self.median)} | {spread} | {self.unit} |"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(title: str, figures: Sequence[Figure]) -> str:
    """Write figures as a Markdown table."""
    lines = [f"### {title}", "", "| what | median | lowest – highest | unit |", "|---|---|---|---|"]
    rows = [figure.row() for figure in figures]
    if any(figure.asked for figure in figures):
        lines[2:] = [f"{lines[2]} asked |", f"{lines[3]}---|"]
        rows = [f"{row} {one.asked} |" for row, one in zip(rows, figures, strict=True)]
    return "\n".join([*lines, *rows, ""])


def seconds(action: Callable[[], object], repeats: int, warm_ups: int = 1) -> list[float]:
    """Time an action several times, after warm-ups that are not counted."""
    for _ in range(warm_ups):
        action()
    return [_seconds_of(action) for _ in range(repeats)]


def interleaved(
    actions: Mapping[str, Callable[[], object]], rounds: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time several actions by turns, so that what the machine does besides meets all of them.

    Returns:
        The seconds of each action, a value a round.
    """
    for _ in range(warm_ups):
        for action in actions.values():
            action()
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            taken[name].append(_seconds_of(action))
    return taken


def _seconds_of(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def ratios(slower: Sequence[float], faster: Sequence[float]) -> list[float]:
    """Return, round by round, how many times as long one took as the other."""
    return [a / b for a, b in zip(slower, faster, strict=True)]


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Return between which of several values the median of all there could be lies.

    Half of these lie below it, whatever their distribution: how many of the values do is a
    binomial count. Where there are too few values for the confidence, all of them are between.
    """
    ordered, n = sorted(values), len(values)
    rank, tail = 1, 0.5**n
    while 2 * (tail + math.comb(n, rank) * 0.5**n) <= 1 - confidence:
        tail += math.comb(n, rank) * 0.5**n
        rank += 1
    return ordered[rank - 1], ordered[n - rank]


def as_far_as(
    part: str,
    figures: Iterator[Figure],
    failures: tuple[type[Exception], ...] = (RuntimeError, OSError),
) -> Iterator[Figure]:
    """Pass figures on, and say why there are no more: one part does not keep others from being."""
    try:
        yield from figures
    except failures as error:
        why = str(error).partition("\n")[0]
        yield Figure.absent(part, f"not measured any further: {why}")


def machine() -> str:
    """Name the processor, its cores and the Python in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"
