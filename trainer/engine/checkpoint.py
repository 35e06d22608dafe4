"""Checkpoints: one file that holds a run as it stands, and a JSON file beside it.

``latest.pt`` is a zip of plain values and tensors. ``latest.pt.json`` tells its SHA-256, and what
a list of checkpoints shows, so that nobody has to open the large file for that.

A kill at any point leaves a pair that loads. The new checkpoint is first written whole to a file
of another name; then the JSON file is replaced, then the checkpoint. In between, the JSON file
speaks of a checkpoint that is not there yet: therefore it also names, under ``replaced_sha256``,
the digests of the checkpoints that this name had before, and those are accepted too. Anything
else (a truncated copy, a flipped bit) is refused. Where the JSON file is missing or damaged, the
checksums inside the zip are compared instead; torch itself does not look at them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec
import torch

from trainer.config import ModelShape
from trainer.engine.model import GPT
from trainer.engine.tokenization import Tokenizer
from trainer.errors import CheckpointError, NotFoundError
from trainer.store.files import replace_file, sync_folder
from trainer.store.records import now

FORMAT = 1

_EXPECTED: dict[str, type | tuple[type, ...]] = {
    "format": int,
    "model": dict,
    "optimizer": dict,
    "config": dict,
    "shape": dict,
    "vocab_size": int,
    "context": int,
    "tokenizer": str,
    "corpus_key": str,
    "segments": (list, tuple),
    "step": int,
    "epoch": int,
}
"""The keys that every checkpoint has; the training loop adds what it needs beside them."""

_REMEMBERED_DIGESTS = 4
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV}
_UNREADABLE = (
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    pickle.UnpicklingError,
)


class SpoiltWeightsError(CheckpointError):
    """A weight is not a finite number; nothing that holds it is saved or used."""


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the JSON file beside a checkpoint; ``val_loss`` is nats a token."""

    format: int = FORMAT
    step: int
    epoch: int
    val_loss: float | None
    val_word_perplexity: float | None
    bytes: int
    saved_at: str
    sha256: str
    replaced_sha256: list[str] = []


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use, its tokenizer, and the rest of the checkpoint it came from."""

    model: GPT
    tokenizer: Tokenizer
    payload: dict[str, Any]


# ---------------------------------------------------------------------- writing


def save(path: Path, payload: Mapping[str, Any]) -> CheckpointInfo:
    """Replace a checkpoint; whatever happens, the old one or the new one is there, whole.

    Args:
        payload: the keys that every checkpoint has but for ``format``, and any more: tensors
            and plain values only.

    Raises:
        SpoiltWeightsError: a weight is not finite.
        CheckpointError: the file cannot be written. In both cases the checkpoint that was there
            is untouched.
    """
    _refuse_spoilt(payload["model"], f"{path.name} was not saved", "The one before it is kept.")
    temporary = _temporary(path)
    try:
        sha256, size = _write(temporary, {"format": FORMAT, **payload})
        # Read back before it counts: what weights_only refuses must not replace what loads.
        torch.load(temporary, map_location="cpu", weights_only=True, mmap=True)
        info = _info(payload, sha256=sha256, size=size)
        _publish(temporary, path, info)
    except OSError as error:
        raise CheckpointError(
            f"{path.name} could not be saved: {error.strerror or error}.",
            f"The checkpoint before it is kept. Check free space and permissions of {path.parent}.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return info


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same checkpoint as ``source`` without a second copy on the disk.

    Where the file system has no hard links, it is a copy.

    Raises:
        CheckpointError: ``source`` is damaged, or ``target`` cannot be written.
    """
    info = read_info(source) or _info_of(source)
    temporary = _temporary(target)
    try:
        temporary.unlink(missing_ok=True)
        _link_or_copy(source, temporary)
        _publish(temporary, target, info)
    except OSError as error:
        raise CheckpointError(
            f"{target.name} could not be made from {source.name}: {error.strerror or error}.",
            f"Check free space and permissions of {target.parent}.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def keep_newest(folder: Path, count: int) -> None:
    """Delete the epoch checkpoints but for the newest ``count``."""
    numbered = {
        int(path.stem.removeprefix("epoch-")): path
        for path in folder.glob("epoch-*.pt")
        if path.stem.removeprefix("epoch-").isdecimal()
    }
    for number in sorted(numbered)[:-count]:
        numbered[number].unlink(missing_ok=True)
        _info_path(numbered[number]).unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """One name for all tries, so that what a kill leaves is overwritten by the next save."""
    return path.with_name(f".{path.name}.part")


def _write(path: Path, payload: dict[str, Any]) -> tuple[str, int]:
    """Write a file that outlasts a power cut; return its SHA-256 and its size in bytes."""
    with path.open("wb") as file:
        writer = _HashingWriter(file)
        try:
            torch.save(payload, cast(IO[bytes], writer))
        except RuntimeError:
            if writer.failure is not None:
                raise writer.failure from None
            raise
        file.flush()
        os.fsync(file.fileno())
        return writer.digest.hexdigest(), file.tell()


class _HashingWriter:
    """Passes on what it is given; torch hides why a write failed, so that is kept here."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.failure: OSError | None = None
        self._file = file

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _publish(temporary: Path, path: Path, info: CheckpointInfo) -> None:
    """Put the JSON file in place, then the checkpoint; see the head of this module."""
    before = read_info(path)
    known = [*info.replaced_sha256]
    if before is not None:
        known = [before.sha256, *before.replaced_sha256, *known]
    others = [digest for digest in dict.fromkeys(known) if digest != info.sha256]
    info = msgspec.structs.replace(info, replaced_sha256=others[:_REMEMBERED_DIGESTS])
    encoded = msgspec.json.format(msgspec.json.encode(info), indent=2)
    replace_file(_info_path(path), encoded + b"\n")
    os.replace(temporary, path)
    sync_folder(path.parent)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        shutil.copyfile(source, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _info(payload: Mapping[str, Any], *, sha256: str, size: int) -> CheckpointInfo:
    return CheckpointInfo(
        step=payload["step"],
        epoch=payload["epoch"],
        val_loss=payload.get("val_loss"),
        val_word_perplexity=payload.get("val_word_perplexity"),
        bytes=size,
        saved_at=now(),
        sha256=sha256,
    )


def _info_of(path: Path) -> CheckpointInfo:
    return _info(load(path), sha256=_sha256(path), size=path.stat().st_size)


# ---------------------------------------------------------------------- reading


def load(path: Path, map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Read a checkpoint after comparing it with its SHA-256.

    Raises:
        NotFoundError: there is no such file.
        CheckpointError: it is damaged, is no checkpoint, was written by a newer version, or
            holds weights that are not finite.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no checkpoint {path}.", "See 'llm-trainer status'.")
    _verify(path)
    try:
        payload = torch.load(path, map_location=map_location, weights_only=True)
    except _UNREADABLE as error:
        raise _damaged(path, "it cannot be read as plain values and tensors") from error
    return _checked(path, payload)


def load_model(path: Path, device: torch.device) -> LoadedModel:
    """Build the model of a checkpoint, in evaluation mode, and its tokenizer.

    Returns:
        Its payload is without the weights and the optimizer's state.

    Raises:
        NotFoundError: there is no such file.
        CheckpointError: as :func:`load`, or model, tokenizer and sizes do not fit together.
    """
    payload = load(path)
    weights = payload.pop("model")
    del payload["optimizer"]
    try:
        shape = ModelShape(**payload["shape"])
        model = GPT(shape, payload["vocab_size"], payload["context"])
        model.load_state_dict(weights)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise _damaged(path, "its weights do not fit its sizes") from error
    tokenizer = _read_tokenizer(path, payload)
    return LoadedModel(model.to(device).eval(), tokenizer, payload)


def read_info(path: Path) -> CheckpointInfo | None:
    """Read the JSON file beside a checkpoint; None when it is missing or damaged."""
    try:
        return msgspec.json.decode(_info_path(path).read_bytes(), type=CheckpointInfo)
    except (OSError, msgspec.DecodeError):
        return None


def _info_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _verify(path: Path) -> None:
    info = read_info(path)
    try:
        if info is not None:
            if _sha256(path) not in (info.sha256, *info.replaced_sha256):
                raise _damaged(path, "its SHA-256 is not the one it was saved with")
        elif not zipfile.is_zipfile(path):
            raise _damaged(path, "it is not a checkpoint, or only the beginning of one")
        else:
            _verify_zip(path)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error


def _verify_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path, "it is not a whole zip file") from error
    if damaged is not None:
        raise _damaged(path, f"the checksum of its part {damaged} is wrong")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: Path, payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict) or not isinstance(payload.get("format"), int):
        raise _damaged(path, "it holds something else than a run")
    if payload["format"] > FORMAT:
        raise CheckpointError(
            f"{path.name} was written by a newer llm-trainer (format {payload['format']}; this "
            f"one reads up to {FORMAT}).",
            "Use the newer llm-trainer for this run.",
        )
    wrong = [key for key, kind in _EXPECTED.items() if not isinstance(payload.get(key), kind)]
    if wrong:
        raise _damaged(path, f"it lacks {', '.join(wrong)}")
    _refuse_spoilt(payload["model"], f"{path.name} cannot be used", "Use an earlier checkpoint.")
    return payload


def _refuse_spoilt(weights: Mapping[str, Any], consequence: str, hint: str) -> None:
    for name, weight in weights.items():
        if isinstance(weight, torch.Tensor) and not torch.isfinite(weight).all():
            raise SpoiltWeightsError(
                f"{consequence}: the weight {name} holds values that are not finite.", hint
            )


def _read_tokenizer(path: Path, payload: dict[str, Any]) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_json(payload["tokenizer"])
    # The library raises plain Exception for a text that is no tokenizer.
    except Exception as error:
        raise _damaged(path, "its tokenizer cannot be read") from error
    if tokenizer.vocab_size > payload["vocab_size"]:
        raise _damaged(
            path,
            f"its tokenizer has {tokenizer.vocab_size} entries and its model "
            f"{payload['vocab_size']}",
        )
    return tokenizer


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"The checkpoint {path.name} is damaged: {why}.",
        "Use another checkpoint of the run: --from or --checkpoint with latest, best or epoch-<n>.",
    )
