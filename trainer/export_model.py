"""A run's model for other programs: a folder that ``transformers`` opens, or one GGUF file.

Never imports torch. The model's process writes under another name beside the wanted one, and this
one renames it: the export is there whole, or not at all, and never in place of something else.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import StoreError, UsageError
from trainer.inference.client import ModelProcess
from trainer.inference.protocol import ModelFormat, WeightType
from trainer.runs import Run, RunStore
from trainer.store.checkpoints import link_or_copy
from trainer.store.files import sync_folder

GGUF_SUFFIX = ".gguf"


@dataclass(frozen=True)
class Exported:
    """What was written where: weights in all, and bytes of all files."""

    path: Path
    parameters: int
    bytes: int


def export_hf(store: RunStore, run_id: str, checkpoint: str, target: Path) -> Exported:
    """Write the model of a checkpoint as dense Qwen3 for ``transformers``.

    Args:
        checkpoint: ``latest``, ``best``, ``epoch-<n>`` or ``step-<n>``.
        target: a folder that is not there yet, or empty.

    Raises:
        UsageError: the target is something else, or lies in no folder; no such checkpoint name.
        NotFoundError: there is no such run or checkpoint.
        CheckpointError: the checkpoint is damaged.
        StoreError: the folder cannot be written.
    """
    folder = absolute(target)
    check_folder_target(folder)
    return _export(store, run_id, checkpoint, folder, whole_folder, "hf", "f32")


def export_gguf(
    store: RunStore, run_id: str, checkpoint: str, target: Path, weights: WeightType = "f16"
) -> Exported:
    """Write the model of a checkpoint as one file for llama.cpp.

    Args:
        target: a file that is not there yet; ``.gguf`` is added where it has no such suffix.
        weights: number format of the matrices.

    Raises:
        UsageError, NotFoundError, CheckpointError, StoreError: as :func:`export_hf`.
    """
    file = with_gguf_suffix(absolute(target))
    check_file_target(file)
    return _export(store, run_id, checkpoint, file, _whole_file, "gguf", weights)


def _export(
    store: RunStore,
    run_id: str,
    checkpoint: str,
    target: Path,
    whole: Callable[[Path], AbstractContextManager[Path]],
    form: ModelFormat,
    weights: WeightType,
) -> Exported:
    run, path = store.get(run_id), store.checkpoint_path(run_id, checkpoint)
    title = card_title(run, checkpoint)
    with whole(target) as staging, ModelProcess() as model:
        job = model.export(
            path, staging, title=title, form=form, weights=weights, run_id=run.run_id
        )
        written = job.result()
    return Exported(target, written["parameters"], written["bytes"])


def card_title(run: Run, checkpoint: str) -> str:
    """Return the heading of the model card: the run by name and id, and the checkpoint."""
    name = run.annotations.name
    return (
        f"{run.run_id} ({checkpoint})" if name is None else f"{name} ({run.run_id}, {checkpoint})"
    )


# ---------------------------------------------------------------------- the target


def absolute(target: Path) -> Path:
    """Return where a target is.

    Raises:
        UsageError: the path leads nowhere.
    """
    try:
        return target.expanduser().resolve()
    except RuntimeError as error:  # pathlib's: an unknown ~user, or links in a circle.
        raise UsageError(f"'{target}' cannot be found: {error}", "Name another place.") from error


def with_gguf_suffix(file: Path) -> Path:
    """Add ``.gguf`` to a file's name where it does not end so; a folder keeps its name."""
    if file.is_dir() or file.suffix.lower() == GGUF_SUFFIX:
        return file
    return file.with_name(file.name + GGUF_SUFFIX)


def check_folder_target(folder: Path) -> None:
    """Refuse a place that holds something already.

    Raises:
        UsageError: it is a file or a folder that is not empty, or lies in no folder.
    """
    _check_parent(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file.", "Name a folder that is not there yet.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"The folder '{folder}' is not empty.", "Name one that is not there yet, or empty it."
        )


def check_file_target(file: Path) -> None:
    """Refuse a place that holds something already.

    Raises:
        UsageError: it is there already, or lies in no folder.
    """
    _check_parent(file)
    if file.is_dir():
        raise UsageError(f"'{file}' is a folder.", f"Name a file, such as {file / 'model.gguf'}.")
    if file.exists():
        raise UsageError(
            f"The file '{file}' is there already.", "Name another one, or remove it first."
        )


def _check_parent(target: Path) -> None:
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder '{target.parent}'.", "Make it first.")


# ---------------------------------------------------------------------- whole, or not at all


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; at the end it gets its name, on any failure it is removed.

    Raises:
        StoreError: it cannot be written.
    """
    with _staging(folder) as staging:
        yield staging
        with _told_unwritable(folder):
            staging.chmod(0o755)
            staging.rename(folder)
            sync_folder(folder.parent)


@contextlib.contextmanager
def _whole_file(file: Path) -> Iterator[Path]:
    """Give the path of a file to write; at the end it gets its name, unless that is taken."""
    with _staging(file) as staging:
        written = staging / file.name
        yield written
        with _told_unwritable(file):
            _flush(written)
            link_or_copy(written, file)  # Unlike a rename, this replaces nothing.
            sync_folder(file.parent)


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    with _told_unwritable(target):
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _flush(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


@contextlib.contextmanager
def _told_unwritable(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"'{target}' cannot be written: {error.strerror or error}.",
            "Choose another place with --out.",
        ) from error
