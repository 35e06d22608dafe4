"""A run's model as a folder that ``transformers`` opens; never imports torch.

The model's process writes the files into a folder of another name beside the wanted one, and this
one renames it: the folder is there whole, or not at all.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import StoreError, UsageError
from trainer.inference.client import ModelProcess
from trainer.runs import Run, RunStore
from trainer.store.files import sync_folder


@dataclass(frozen=True)
class Exported:
    """What was written where: weights in all, and bytes of all files."""

    folder: Path
    parameters: int
    bytes: int


def export_hf(store: RunStore, run_id: str, checkpoint: str, target: Path) -> Exported:
    """Write the model of a checkpoint as dense Qwen3, whole or not at all.

    Args:
        checkpoint: ``latest``, ``best``, ``epoch-<n>`` or ``step-<n>``.
        target: a folder that is not there yet, or empty.

    Raises:
        UsageError: the target is something else, or lies in no folder; no such checkpoint name.
        NotFoundError: there is no such run or checkpoint.
        CheckpointError: the checkpoint is damaged.
        StoreError: the folder cannot be written.
    """
    run, path = store.get(run_id), store.checkpoint_path(run_id, checkpoint)
    folder = _absolute(target)
    check_target(folder)
    with _whole(folder) as staging, ModelProcess() as model:
        written = model.export(path, staging, title=card_title(run, checkpoint)).result()
    return Exported(folder, written["parameters"], written["bytes"])


def _absolute(target: Path) -> Path:
    try:
        return target.expanduser().resolve()
    except RuntimeError as error:  # pathlib's: an unknown ~user, or links in a circle.
        raise UsageError(f"'{target}' cannot be found: {error}", "Name another folder.") from error


def check_target(folder: Path) -> None:
    """Refuse a place that holds something already.

    Raises:
        UsageError: it is a file or a folder that is not empty, or lies in no folder.
    """
    if not folder.parent.is_dir():
        raise UsageError(f"There is no folder '{folder.parent}'.", "Make it first.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"'{folder}' is a file.", "Name a folder that is not there yet.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(
            f"The folder '{folder}' is not empty.", "Name one that is not there yet, or empty it."
        )


def card_title(run: Run, checkpoint: str) -> str:
    """Return the heading of the model card: the run by name and id, and the checkpoint."""
    name = run.annotations.name
    return (
        f"{run.run_id} ({checkpoint})" if name is None else f"{name} ({run.run_id}, {checkpoint})"
    )


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill; at the end it gets its name, on any failure it is removed."""
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield staging
        _publish(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, folder: Path) -> None:
    try:
        staging.chmod(0o755)
        staging.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"'{folder}' cannot be written: {error.strerror or error}.",
        "Choose another place with --out.",
    )
