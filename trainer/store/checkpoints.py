"""A run's checkpoints as files: their names, their list and their pins, without opening them.

What a list shows stands in the JSON file beside each checkpoint. A pin is one more name,
``step-<n>``, for the same file: it stays when retention removes the others.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from trainer.errors import CheckpointError, ConflictError, NotFoundError, StoreError, UsageError
from trainer.store.files import replace_file, sync_folder
from trainer.store.workspace import RunPaths

CHECKPOINT_SOURCES = "latest, best, epoch-<n> or step-<n>"
PINNED = "step-"
"""What the names of pinned checkpoints begin with."""

_NAME = re.compile(r"latest|best|(epoch|step)-[0-9]+")
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}
_PIN_TRIES = 50
_PIN_PAUSE_SECONDS = 0.02


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a checkpoint without opening it, from the JSON file beside it.

    ``pinned``: it is kept for good, under this name or as a pin of the same content.
    ``evaluated_step``: of which ``val_loss`` is; None where an older version did not write it.
    """

    name: str
    step: int
    epoch: int
    val_loss: float | None = None
    val_word_perplexity: float | None = None
    evaluated_step: int | None = None
    bytes: int = 0
    saved_at: str | None = None
    sha256: str | None = None
    pinned: bool = False

    @property
    def evaluated_before(self) -> int | None:
        """The earlier step that its loss is of; None when it is its own, or not known."""
        at = self.evaluated_step
        return at if at is not None and at < self.step else None


def is_checkpoint_name(name: str) -> bool:
    """Say whether a text could name a checkpoint: anything else never becomes a path."""
    return _NAME.fullmatch(name) is not None


def info_path(path: Path) -> Path:
    """Return the JSON file beside a checkpoint."""
    return path.with_name(f"{path.name}.json")


# ---------------------------------------------------------------------- listing


def list_checkpoints(folder: Path) -> Sequence[Checkpoint]:
    """List the checkpoints of a folder: latest, best, then the others from the newest step."""
    read = (_read_sidecar(path) for path in folder.glob("*.pt.json"))
    found = [checkpoint for checkpoint in read if checkpoint is not None]
    kept = {c.sha256 for c in found if c.name.startswith(PINNED)} - {None}
    marked = (msgspec.structs.replace(c, pinned=c.sha256 in kept) for c in found)
    return sorted(marked, key=_checkpoint_order)


def undescribed(folder: Path) -> list[str]:
    """Name the checkpoints of a folder whose JSON file is missing or damaged."""
    listed = {checkpoint.name for checkpoint in list_checkpoints(folder)}
    names = {path.stem for path in folder.glob("*.pt") if is_checkpoint_name(path.stem)}
    return sorted(names - listed)


def any_checkpoint(folder: Path) -> bool:
    """Say whether a folder holds a checkpoint, whatever stands beside it."""
    return any(is_checkpoint_name(path.stem) for path in folder.glob("*.pt"))


def names_there(folder: Path, but: str | None = None) -> str:
    """Name the checkpoints of a folder in words, for a hint; all ``but`` one."""
    names = (checkpoint.name for checkpoint in list_checkpoints(folder))
    return ", ".join(name for name in names if name != but) or "none"


def left_behind(paths: RunPaths) -> str:
    """Say which checkpoints are left of a run whose folder is gone, and how to be rid of them."""
    if not any_checkpoint(paths.checkpoints):
        return ""
    return (
        f"Its checkpoints ({names_there(paths.checkpoints)}) are still in {paths.checkpoints}. "
        f"To remove them too: llm-trainer delete --run-id {paths.run_id}"
    )


def _read_sidecar(path: Path) -> Checkpoint | None:
    name = path.name.removesuffix(".pt.json")
    if not is_checkpoint_name(name) or not path.with_suffix("").exists():
        return None
    try:
        raw = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        return msgspec.convert(raw | {"name": name}, Checkpoint)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None  # Half written, or being replaced: it shows again at the next look.


def _checkpoint_order(checkpoint: Checkpoint) -> tuple[int, int, str]:
    rank = {"latest": 0, "best": 1}.get(checkpoint.name, 2)
    return rank, -checkpoint.step, checkpoint.name


# ---------------------------------------------------------------------- retention


def expendable(epochs: Sequence[int], keep_last: int, keep_every: int | None) -> list[int]:
    """Return the epochs, oldest first, whose checkpoints need not be kept.

    Args:
        keep_last: so many of the newest are kept.
        keep_every: those divisible by it are kept for good; None: none of them.
    """
    older = sorted(epochs)[: max(0, len(epochs) - keep_last)]
    return [epoch for epoch in older if keep_every is None or epoch % keep_every]


# ---------------------------------------------------------------------- pins


def pin(folder: Path, name: str) -> str:
    """Keep a checkpoint for good and return its further name, ``step-<n>``.

    The worker may be replacing that very checkpoint: a file is held by a link of its own first,
    and pinned only when the JSON file speaks of exactly its content.

    Raises:
        NotFoundError: there is no such checkpoint.
        CheckpointError: it is damaged.
        ConflictError: it is being replaced again and again, or other weights of that step are
            pinned.
        StoreError: the folder cannot be written.
    """
    held = folder / f".pin-{os.getpid()}-{time.monotonic_ns()}.part"
    try:
        return _publish_pin(folder, held, _hold(folder / f"{name}.pt", held))
    except OSError as error:
        raise StoreError(
            f"The checkpoint {name} cannot be pinned: {error.strerror or error}.",
            f"Check free space and permissions of {folder}.",
        ) from error
    finally:
        held.unlink(missing_ok=True)


def unpin(folder: Path, name: str) -> None:
    """Let go of a pinned checkpoint. Its other names, such as ``best``, stay.

    Raises:
        UsageError: the name is not that of a pin.
        NotFoundError: there is no such pin.
        ConflictError: nothing else is left of the run's checkpoints.
        StoreError: the folder cannot be written.
    """
    if not (is_checkpoint_name(name) and name.startswith(PINNED)):
        raise UsageError(f"'{name[:80]}' is not a pinned checkpoint.", "Use step-<n>.")
    path = folder / f"{name}.pt"
    if path.exists() and names_there(folder, but=name) == "none":
        raise ConflictError(
            f"{name} is the only checkpoint of this run.", "Delete the run to remove it."
        )
    try:
        path.unlink()
        info_path(path).unlink(missing_ok=True)
        sync_folder(folder)
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no pinned checkpoint '{name}'.", f"There is: {names_there(folder)}."
        ) from None
    except OSError as error:
        raise StoreError(f"The pin {name} cannot be removed: {error.strerror}.") from error


def _hold(path: Path, held: Path) -> dict[str, Any]:
    """Link a checkpoint to a name that nobody else uses; return what its JSON file says."""
    refused: str | None = None
    for _ in range(_PIN_TRIES):
        held.unlink(missing_ok=True)
        _link_if_there(path, held)
        facts, digest = _facts(path), sha256_of(held)
        if facts is not None and digest == facts["sha256"]:
            return facts
        if facts is not None and digest not in facts.get("replaced_sha256", ()):
            if digest == refused:
                raise _damaged(path)
            refused = digest  # Damaged, or replaced more than once since it was linked.
        time.sleep(_PIN_PAUSE_SECONDS)
    raise ConflictError(
        f"The checkpoint {path.stem} is being replaced just now, or the file {path.name}.json "
        "beside it does not speak of it.",
        "Try again in a moment, or pin another one.",
    )


def _link_if_there(path: Path, held: Path) -> None:
    try:
        link_or_copy(path, held)
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no checkpoint '{path.stem}'.", f"There is: {names_there(path.parent)}."
        ) from None


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {path.stem} is damaged: its SHA-256 is not the one it was saved with.",
        f"Pin another one. There is: {names_there(path.parent, but=path.stem)}.",
    )


def _facts(path: Path) -> dict[str, Any] | None:
    try:
        facts = msgspec.json.decode(info_path(path).read_bytes(), type=dict[str, Any])
        msgspec.convert(facts | {"name": path.stem}, Checkpoint)
    except (FileNotFoundError, msgspec.DecodeError, msgspec.ValidationError):
        return None
    return facts if isinstance(facts.get("sha256"), str) else None


def _publish_pin(folder: Path, held: Path, facts: dict[str, Any]) -> str:
    name = f"{PINNED}{facts['step']}"
    path = folder / f"{name}.pt"
    if path.exists():
        if sha256_of(path) != facts["sha256"]:
            raise ConflictError(
                f"Other weights of step {facts['step']:,} are pinned as {name} already.",
                f"Unpin {name} first.",
            )
        return name
    content = msgspec.json.encode(facts | {"replaced_sha256": []})
    replace_file(info_path(path), msgspec.json.format(content, indent=2) + b"\n")
    os.replace(held, path)
    sync_folder(folder)
    return name


# ---------------------------------------------------------------------- files


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system has no hard links, copy it durably."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
