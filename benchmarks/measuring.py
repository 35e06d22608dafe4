"""What the benchmarks share: timing, tables, and the machine they ran on."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One measured row: what, the median, the spread, and the unit."""

    what: str
    median: float
    lowest: float
    highest: float
    unit: str

    @classmethod
    def of(cls, what: str, values: Sequence[float], unit: str) -> Figure:
        """Take the median of several runs."""
        return cls(what, statistics.median(values), min(values), max(values), unit)

    def row(self) -> str:
        """Write the figure as a row of a Markdown table."""
        return (
            f"| {self.what} | {_short(self.median)} | {_short(self.lowest)} – "
            f"{_short(self.highest)} | {self.unit} |"
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(title: str, figures: Sequence[Figure]) -> str:
    """Write figures as a Markdown table."""
    lines = [f"### {title}", "", "| what | median | lowest – highest | unit |", "|---|---|---|---|"]
    return "\n".join([*lines, *(figure.row() for figure in figures), ""])


def seconds(action: Callable[[], object], repeats: int, warm_ups: int = 1) -> list[float]:
    """Time an action several times, after warm-ups that are not counted."""
    for _ in range(warm_ups):
        action()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken


def machine() -> str:
    """Name the processor, its cores and the Python in one line."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"
