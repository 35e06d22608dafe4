"""Running one benchmark in a process of its own, by its name."""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from benchmarks.measuring import Figure
from benchmarks.options import Options


def in_a_process(name: str, options: Options) -> tuple[str, list[Figure]]:
    """Return the title and the figures of ``benchmarks.<name>``."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, name, options).result()


def _measure(name: str, options: Options) -> tuple[str, list[Figure]]:
    module = importlib.import_module(f"benchmarks.{name}")
    return module.TITLE, module.measure(options)
