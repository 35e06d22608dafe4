"""Finding the checkpoint that a run goes on from, past any that are damaged."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from trainer.config import Config, from_checkpoint
from trainer.engine import checkpoint, retention
from trainer.engine.checkpoint import DamagedCheckpointError, NotSavedError, SpoiltWeightsError
from trainer.engine.reporting import phase
from trainer.engine.saving import TROUBLE, pause_seconds, refused_words
from trainer.engine.trainee import Job
from trainer.errors import CheckpointError, NotFoundError
from trainer.store.checkpoints import info_path, is_checkpoint_name
from trainer.store.files import sync_folder
from trainer.store.records import ResumedFrom
from trainer.store.truth import anew_command
from trainer.store.workspace import RunPaths

log = logging.getLogger(__name__)

DAMAGED = "damaged"
"""The folder, beside the checkpoints, for those that cannot be used."""


@dataclass(frozen=True)
class Resumption:
    """The checkpoint that a run goes on from: its name, and what was loaded from it."""

    name: str
    payload: dict[str, Any]


def resume(job: Job) -> Resumption | None:
    """Load the checkpoint that the job names, or the next older one that is whole.

    Those that are not are set aside and told. Afterwards ``latest.pt`` is the one that was
    loaded, and what retention does not keep is gone.

    Raises:
        NotFoundError: there is no such checkpoint.
        CheckpointError: none can be used, or one was written by a newer version.
    """
    if job.checkpoint is None:
        return None
    phase(job, "loading checkpoint")
    found = _first_whole(job, job.checkpoint)
    step = found.payload["step"]
    job.recorder.update(resumed=ResumedFrom(checkpoint=found.name, step=step))
    _until_space(job, lambda: _make_latest(job, found))
    _tidy(job)
    return found


def saved_configuration(paths: RunPaths, wanted: str) -> tuple[Config, str]:
    """Return the configuration in the wanted checkpoint, or in the newest that can be read.

    Returns it with the name of the checkpoint.

    Raises:
        CheckpointError: none can be read.
        ConfigurationError: it holds settings of a newer version.
    """
    others = sorted(_others(paths.checkpoints, wanted), key=step_of, reverse=True)
    for name in (wanted, *(path.stem for path in others)):
        try:
            payload = checkpoint.load(paths.checkpoint(name))
        except (CheckpointError, NotFoundError):
            continue
        return from_checkpoint(payload["config"], f"{name}.pt"), name
    raise CheckpointError(
        "config.toml is damaged, and no checkpoint of this run can be read.", "Start a new run."
    )


def _first_whole(job: Job, wanted: str) -> Resumption:
    troubles: list[str] = []
    for name in _by_preference(job, wanted):
        path = job.paths.checkpoint(name)
        try:
            payload = checkpoint.load(path)
        except (DamagedCheckpointError, SpoiltWeightsError) as error:
            troubles.append(f"{error.message} {_set_aside(path)}")
        except NotFoundError:
            if wanted != "latest":
                raise
            troubles.append("There is no latest.pt.")
        else:
            _tell(job, troubles, name, payload["step"])
            return Resumption(name, payload)
    raise CheckpointError(
        f"{' '.join(troubles)} There is no other checkpoint of this run to go on from.",
        f"To start it anew: {anew_command(job.paths)}",
    )


def _by_preference(job: Job, wanted: str) -> Iterator[str]:
    """Yield the wanted name, then those of the same or an older step, from the newest."""
    first = job.paths.checkpoint(wanted)
    info = checkpoint.read_info(first) if first.exists() else None
    yield wanted
    # A step that the metrics do not reach would leave a gap in them.
    newest = info.step if info is not None else job.recorder.state.step
    found = [(step_of(path), path.stem) for path in _others(job.paths.checkpoints, wanted)]
    usable = [(step, name) for step, name in found if newest is None or step <= newest]
    yield from (name for _, name in sorted(usable, reverse=True))


def _others(folder: Path, wanted: str) -> list[Path]:
    paths = folder.glob("*.pt")
    return [path for path in paths if path.stem != wanted and is_checkpoint_name(path.stem)]


def step_of(path: Path) -> int:
    """Return the step of a checkpoint, or 0 where nothing of it can be read."""
    info = checkpoint.read_info(path)
    if info is not None:
        return info.step
    try:
        checkpoint.verify(path)
        payload = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return int(payload["step"])
    except (CheckpointError, *checkpoint.UNREADABLE):
        return 0


def _set_aside(path: Path) -> str:
    """Move a checkpoint to where nobody takes it for a good one; say where that is."""
    at = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
    target = path.parent / DAMAGED / f"{path.stem}-{at}.pt"
    try:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        if info_path(path).exists():
            info_path(path).rename(info_path(target))
        sync_folder(target.parent)
        sync_folder(path.parent)
    except OSError as error:
        return f"It could not be set aside: {error.strerror}."
    return f"It was set aside as {DAMAGED}/{target.name}."


def _tell(job: Job, troubles: list[str], name: str, step: int) -> None:
    if troubles:
        job.recorder.notice(
            f"At the resume from step {step:,}: {' '.join(troubles)} Training went on from "
            f"{name}.pt instead.",
            kind="damaged",
            level="error",
            step=step,
        )


def _make_latest(job: Job, found: Resumption) -> None:
    latest = job.paths.checkpoint("latest")
    if found.name == "latest":
        checkpoint.mend_info(latest, found.payload)
    else:
        checkpoint.link(job.paths.checkpoint(found.name), latest)


def _until_space(job: Job, write: Callable[[], None]) -> None:
    """Do it as soon as the disk takes it; a stop request ends the waiting."""
    tries = 0
    while True:
        try:
            write()
        except NotSavedError as error:
            tries += 1
            job.recorder.trouble(TROUBLE, refused_words(error, None))
            phase(job, "waiting for free space")
            time.sleep(pause_seconds(tries))
        else:
            job.recorder.trouble(TROUBLE, None)
            return


def _tidy(job: Job) -> None:
    """Finish what a kill may have left undone."""
    settings = job.config.checkpoint
    try:
        retention.retire(job.paths.checkpoints, settings.keep_last, settings.keep_every)
        retention.sweep(job.paths.checkpoints)
    except OSError as error:
        log.warning("Old checkpoints could not be removed: %s.", error.strerror)
