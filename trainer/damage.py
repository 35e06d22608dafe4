"""Which files of a run are damaged, beside its state and what people say of it.

A list looks at nothing here but the configuration, and at that only in passing; whoever looks at
one run has all of them read.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import config as configuration
from trainer.errors import ConfigurationError, DamagedError, StoreError, UsageError
from trainer.store.checkpoints import any_checkpoint
from trainer.store.files import read_record
from trainer.store.metrics import check_metrics
from trainer.store.records import ACTIVE, Meta, State
from trainer.store.workspace import RunPaths

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

READ_AT_ONCE_BYTES = 8 * 1024**2
"""Metrics up to this size are read whole in some 30 ms."""


def _give_way() -> None:
    """Let the kernel prefer all others to this thread: whoever asked is about to draw a page."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


@lru_cache(maxsize=1)
def _readers() -> ThreadPoolExecutor:
    """Return the one thread that reads; a command that waits for its answer starts without it."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, "whole-metrics", _give_way)


def damaged_files(paths: RunPaths, state: State, *, wait: bool = True) -> list[str]:
    """Say of each file that is damaged what is wrong, and what a resume will do about it.

    Args:
        wait: False: large metrics are read in the background, and a later look tells what was
            found; until then at least their newest point can be read.
    """
    found = (metrics_damage(paths, state, wait), config_damage(paths), meta_damage(paths))
    return [damage for damage in found if damage is not None]


def metrics_damage(paths: RunPaths, state: State, wait: bool) -> str | None:
    """Look at the metrics: of an active run at the newest point only, or it would cost too much."""
    try:
        found = paths.metrics.stat()
    except OSError:
        return None
    if state.status in ACTIVE:
        return _damage_of(paths.metrics, whole=False)
    if wait or found.st_size <= READ_AT_ONCE_BYTES:
        return _whole_damage(paths.metrics, found.st_mtime_ns, found.st_size)
    reading = _being_read(paths.metrics, found.st_mtime_ns, found.st_size)
    return reading.result() if reading.done() else _damage_of(paths.metrics, whole=False)


@lru_cache(maxsize=256)
def _being_read(path: Path, changed_ns: int, size: int) -> Future[str | None]:
    return _readers().submit(_whole_damage, path, changed_ns, size)


@lru_cache(maxsize=256)
def _whole_damage(path: Path, _changed_ns: int, size: int) -> str | None:
    """Read a database once for as long as its file stays as it is."""
    if not size:
        return (
            f"{path.name} is empty: no point of this run is left. Checkpoints are not affected; a "
            "resume begins a new one."
        )
    return _damage_of(path, whole=True)


def _damage_of(path: Path, *, whole: bool) -> str | None:
    try:
        check_metrics(path, whole=whole)
    except DamagedError as error:
        return str(error)
    except StoreError:
        return None  # It may be whole all the same; whoever needs it tells.
    return None


def config_damage(paths: RunPaths) -> str | None:
    """Say what is wrong with a run's configuration."""
    try:
        configuration.load_stored(paths.config)
    except UsageError as error:
        return f"{_in_short(error.message, paths.config)} {config_way_out(paths)}"
    except ConfigurationError as error:
        return f"{_in_short(error.message, paths.config)} Correct it in {paths.config}."
    return None


def config_damage_in_passing(paths: RunPaths) -> str | None:
    """Say what is wrong with a configuration that shows it in its first and last bytes."""
    try:
        content = paths.config.read_bytes()
        content.decode()
    except (OSError, UnicodeDecodeError):
        return config_damage(paths)
    looks_whole = content.endswith(b"\n") and b"[" in content and b"\0" not in content
    return None if looks_whole else config_damage(paths)


def config_way_out(paths: RunPaths) -> str:
    """Say what can be done about a configuration that cannot be read."""
    if any_checkpoint(paths.checkpoints):
        return "A resume restores it from the checkpoint."
    return "There is no checkpoint that it could be restored from: start a new run."


def meta_damage(paths: RunPaths) -> str | None:
    """Say what is wrong with the facts that were fixed when the run was made."""
    try:
        read_record(paths.meta, Meta)
    except DamagedError as error:
        return f"{_in_short(error.message, paths.meta)} How the run was made is not known any more."
    except (OSError, StoreError):
        return None
    return None


def _in_short(message: str, path: Path) -> str:
    """Write a message in one line that names the file without its folder."""
    return " ".join(message.replace(str(path), path.name).split())
