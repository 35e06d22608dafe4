"""Whether the process that holds models gives memory back: many are loaded, each drops another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.measuring import Figure
from benchmarks.options import Options
from benchmarks.workplace import Workplace
from trainer.inference.client import ModelService
from trainer.inference.request import GenerationSettings
from trainer.inference.service.memory import MEMORY_VARIABLE

MODELS, WARM_UP = 200, 10
_MOST_BYTES_A_PARAMETER = 6
"""Room for a model in fp32 and one text, not for two models."""

_FILES = 8
"""So many different files there are; further names of them are links, to spare the disk."""


def figures(options: Options, place: Workplace) -> Iterator[Figure]:
    """Tell what the process holds after some models and after many, and how long one takes."""
    count = 2 * WARM_UP if options.smoke else MODELS
    folder = place.store.workspace.home / "many-models"
    sizes = list(_sizes(place, _checkpoints(place.checkpoint, folder, count)))
    yield Figure.of(f"memory after {WARM_UP} models", [sizes[WARM_UP - 1]], "MiB")
    yield Figure.of(f"memory after {count} models", [sizes[-1]], "MiB")
    yield Figure.of("it has grown by", [sizes[-1] - sizes[WARM_UP - 1]], "MiB")


def _checkpoints(model: Path, folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{n}.pt" for n in range(count)]
    for path in islice(paths, _FILES):
        shutil.copyfile(model, path)
    for n, path in enumerate(paths[_FILES:]):
        os.link(paths[n % _FILES], path)
    return paths


def _sizes(place: Workplace, paths: list[Path]) -> Iterator[float]:
    """Write two tokens with each model, and yield what the process holds then, in MiB."""
    settings = GenerationSettings(prompt="The", max_new_tokens=2, seed=1)
    with _room_for_one(place), ModelService(place.store.workspace.home) as service:
        for path in paths:
            service.generate(path, settings).result()
            yield sum(one.memory_info().rss for one in place.models_processes()) / 2**20


@contextmanager
def _room_for_one(place: Workplace) -> Iterator[None]:
    """Have the next process hold no more than one model, so that each one drops another."""
    with ModelService(place.store.workspace.home) as service:
        parameters = service.warm(place.checkpoint).result()["parameters"]
    place.end_models_process()
    os.environ[MEMORY_VARIABLE] = str(_MOST_BYTES_A_PARAMETER * parameters)
    try:
        yield
    finally:
        del os.environ[MEMORY_VARIABLE]
        place.end_models_process()
