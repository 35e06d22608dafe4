"""Checkpoints: one file that holds a run as it stands, and a JSON file beside it.

``latest.pt`` is a zip of plain values and tensors. ``latest.pt.json`` tells its SHA-256, and what
a list of checkpoints shows, so that nobody has to open the large file for that.

A kill at any point leaves a pair that loads. The new checkpoint is first written whole to a file
of another name; then the JSON file is replaced, then the checkpoint. In between, the JSON file
speaks of a checkpoint that is not there yet: therefore it also names, under ``replaced_sha256``,
the digests of the checkpoints that this name had before, and those are accepted too. Anything
else (a truncated copy, a flipped bit) is refused. Where the JSON file is missing or damaged, the
checksums inside the zip are compared instead; torch itself does not look at them.

Nothing here is about threads or a run; :mod:`trainer.engine.saving` says when a save happens.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import msgspec
import torch
from torch.overrides import TorchFunctionMode

from trainer import formats
from trainer.config import ModelShape
from trainer.engine.model import GPT
from trainer.engine.out_of_memory import is_out_of_memory
from trainer.engine.tokenization import Tokenizer
from trainer.errors import CheckpointError, NotFoundError
from trainer.store.checkpoints import info_path, link_or_copy, names_there, sha256_of
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
_SPARE_BYTES = 1 << 20
"""What must stay free beside a checkpoint: its plain values, its JSON file, and a little more."""

UNREADABLE = (
    RuntimeError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    pickle.UnpicklingError,
)
"""What torch raises for content that it cannot read as plain values and tensors."""


class SpoiltWeightsError(CheckpointError):
    """A weight is not a finite number; nothing that holds it is saved or used."""


class DamagedCheckpointError(CheckpointError):
    """The content of a checkpoint is not what was saved; no later look at it will change that."""


class NotSavedError(CheckpointError):
    """The disk does not take a checkpoint just now; those that are there are untouched."""


class CheckpointInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in the JSON file beside a checkpoint.

    ``val_loss`` is nats a token, of the weights of ``evaluated_step``.
    """

    format: int = FORMAT
    step: int
    epoch: int
    val_loss: float | None
    val_word_perplexity: float | None
    bytes: int
    saved_at: str
    sha256: str
    replaced_sha256: list[str] = []
    evaluated_step: int | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use, its tokenizer, and the rest of the checkpoint it came from."""

    model: GPT
    tokenizer: Tokenizer
    payload: dict[str, Any]


# ---------------------------------------------------------------------- writing


def save(path: Path, payload: Mapping[str, Any], also: Sequence[Path] = ()) -> CheckpointInfo:
    """Replace a checkpoint; whatever happens, the old one or the new one is there, whole.

    Args:
        payload: the keys that every checkpoint has but for ``format``, and any more: tensors
            and plain values only.
        also: further names for it. They come before ``path``: whoever finds the new ``path``
            finds them too.

    Raises:
        SpoiltWeightsError: a weight is not finite.
        NotSavedError: there is too little space, or the file cannot be written. In both cases
            the checkpoint that was there is untouched.
    """
    refuse_spoilt(payload["model"], f"{path.name} was not saved", "The one before it is kept.")
    with _replacing(path, f"{path.name} could not be saved") as temporary:
        require_space(path.parent, tensor_bytes(payload))
        sha256, size = _write(temporary, {"format": FORMAT, **payload})
        # Read back before it counts: what weights_only refuses must not replace what loads.
        torch.load(temporary, map_location="cpu", weights_only=True, mmap=True)
        info = _info(payload, sha256=sha256, size=size)
        for other in also:
            _link(temporary, other, info)
        _publish(temporary, path, info)
    return info


def link(source: Path, target: Path) -> None:
    """Make ``target`` the same checkpoint as ``source`` without a second copy on the disk.

    Where the file system has no hard links, it is a copy.

    Raises:
        DamagedCheckpointError: ``source`` is damaged.
        NotSavedError: ``target`` cannot be written; the one that was there is untouched.
    """
    _link(source, target, _verified_info(source))


def _link(source: Path, target: Path, info: CheckpointInfo) -> None:
    with _replacing(target, f"{target.name} could not be saved") as temporary:
        temporary.unlink(missing_ok=True)
        link_or_copy(source, temporary)
        _publish(temporary, target, info)


def mend_info(path: Path, payload: Mapping[str, Any]) -> None:
    """Write the JSON file beside a checkpoint anew where it does not tell of that very file.

    Args:
        payload: what :func:`load` returned for it.

    Raises:
        NotSavedError: it cannot be written.
    """
    info, digest = read_info(path), sha256_of(path)
    if info is not None and info.sha256 == digest:
        return
    with _replacing(path, f"{info_path(path).name} could not be written"):
        _write_info(path, _info(payload, sha256=digest, size=path.stat().st_size))


def tensor_bytes(value: object) -> int:
    """Return the size of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(tensor_bytes(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(each) for each in value)
    return 0


def require_space(folder: Path, size: int) -> None:
    """Refuse to begin a file that will not fit.

    Raises:
        OSError: ENOSPC, with figures; or the folder cannot be looked at.
    """
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE_BYTES:
        needed = formats.size(size + _SPARE_BYTES)
        raise OSError(errno.ENOSPC, f"it needs {needed} and {formats.size(free)} are free")


@contextlib.contextmanager
def _replacing(path: Path, consequence: str) -> Iterator[Path]:
    """Give the name under which a file is made ready; tell what the disk refuses."""
    temporary = _temporary(path)
    try:
        yield temporary
    except OSError as error:
        raise NotSavedError(
            f"{consequence}: {error.strerror or error}.",
            f"The checkpoint before it is kept. Check free space and permissions of {path.parent}.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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
    known = [*_digests_there(path), *info.replaced_sha256]
    others = [digest for digest in dict.fromkeys(known) if digest != info.sha256]
    if len(others) > _REMEMBERED_DIGESTS:
        others = [sha256_of(path)]  # Kills at this very place must not push out the true one.
    _write_info(path, msgspec.structs.replace(info, replaced_sha256=others))
    os.replace(temporary, path)
    sync_folder(path.parent)


def _digests_there(path: Path) -> list[str]:
    """Return the digests under which a name's present file is known to be whole."""
    if not path.exists():
        return []
    before = read_info(path)
    if before is not None:
        return [before.sha256, *before.replaced_sha256]
    try:
        verify(path)
    except CheckpointError:
        return []
    return [sha256_of(path)]


def _write_info(path: Path, info: CheckpointInfo) -> None:
    encoded = msgspec.json.format(msgspec.json.encode(info), indent=2)
    replace_file(info_path(path), encoded + b"\n")


def _info(payload: Mapping[str, Any], *, sha256: str, size: int) -> CheckpointInfo:
    return CheckpointInfo(
        step=payload["step"],
        epoch=payload["epoch"],
        val_loss=payload.get("val_loss"),
        val_word_perplexity=payload.get("val_word_perplexity"),
        evaluated_step=payload.get("evaluated_step"),
        bytes=size,
        saved_at=now(),
        sha256=sha256,
    )


def _verified_info(path: Path) -> CheckpointInfo:
    """Return what is true of a checkpoint, whatever a kill left in the file beside it."""
    info = read_info(path)
    digest = sha256_of(path)
    if info is not None and info.sha256 == digest:
        return info
    return _info(load(path), sha256=digest, size=path.stat().st_size)


# ---------------------------------------------------------------------- reading


def load(
    path: Path, map_location: str | torch.device = "cpu", *, mapped: bool = False
) -> dict[str, Any]:
    """Read a checkpoint after comparing it with its SHA-256.

    Args:
        mapped: leave the tensors in the file, which must not be changed while they are used.

    Raises:
        NotFoundError: there is no such file.
        DamagedCheckpointError: it is damaged, or is no checkpoint.
        SpoiltWeightsError: it holds weights that are not finite.
        CheckpointError: it was written by a newer version, or may not be read.
    """
    if not path.is_file():
        raise NotFoundError(f"There is no checkpoint {path}.", "See 'llm-trainer status'.")
    info = read_info(path)
    if info is not None and info.format > FORMAT:
        raise _newer(path, info.format)
    verify(path)
    try:
        payload = torch.load(path, map_location=map_location, weights_only=True, mmap=mapped)
    except OSError as error:
        raise _not_read(path, error) from error
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        raise _damaged(path, "it cannot be read as plain values and tensors") from error
    return _checked(path, payload)


@dataclass(frozen=True)
class StoredModel:
    """The model of a checkpoint that was checked, its weights still in the file.

    ``payload`` is the rest of it, without the optimizer's state.
    """

    path: Path
    weights: Mapping[str, Any]
    payload: dict[str, Any]

    @property
    def bytes(self) -> int:
        """Memory that the weights will take, in float32."""
        tensors = [value for value in self.weights.values() if isinstance(value, torch.Tensor)]
        return sum(4 * tensor.numel() for tensor in tensors)

    def build(self, device: torch.device) -> LoadedModel:
        """Build the model, in evaluation mode, and its tokenizer.

        Raises:
            CheckpointError: model, tokenizer and sizes do not fit together.
        """
        try:
            shape = ModelShape(**self.payload["shape"])
            # The first weights would be replaced at once: none are drawn.
            with _Undrawn():
                model = GPT(shape, self.payload["vocab_size"], self.payload["context"])
            model.load_state_dict(self.weights)
        except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
            raise _damaged(self.path, "its weights do not fit its sizes") from error
        tokenizer = _read_tokenizer(self.path, self.payload)
        return LoadedModel(model.to(device).eval(), tokenizer, self.payload)


class _Undrawn(TorchFunctionMode):
    """Leaves out the drawing of first weights by :mod:`torch.nn.init`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if kwargs and "tensor" in kwargs else args[0]
        return func(*args, **(kwargs or {}))


def open_model(path: Path) -> StoredModel:
    """Check a checkpoint and find its model, reading next to nothing into memory.

    Raises:
        NotFoundError: there is no such file.
        CheckpointError: as :func:`load`.
    """
    payload = load(path, mapped=True)
    weights = payload.pop("model")
    del payload["optimizer"]
    return StoredModel(path, weights, payload)


def load_model(path: Path, device: torch.device) -> LoadedModel:
    """Build the model of a checkpoint, in evaluation mode, and its tokenizer.

    Returns:
        Its payload is without the weights and the optimizer's state.

    Raises:
        NotFoundError: there is no such file.
        CheckpointError: as :func:`load`, or model, tokenizer and sizes do not fit together.
    """
    return open_model(path).build(device)


def read_info(path: Path) -> CheckpointInfo | None:
    """Read the JSON file beside a checkpoint; None when it is missing or damaged."""
    try:
        return msgspec.json.decode(info_path(path).read_bytes(), type=CheckpointInfo)
    except (OSError, msgspec.DecodeError):
        return None


def verify(path: Path) -> None:
    """Compare a checkpoint with its SHA-256, or with the checksums in it where that is missing.

    Raises:
        DamagedCheckpointError: they differ.
        CheckpointError: it cannot be read.
    """
    try:
        info = read_info(path)
        if info is None:
            _verify_zip(path)
        elif sha256_of(path) in (info.sha256, *info.replaced_sha256):
            return
        elif read_info(path) == info:
            raise _damaged(path, "its SHA-256 is not the one it was saved with")
        else:  # Its owner has replaced both since.
            verify(path)
    except OSError as error:
        raise _not_read(path, error) from error


def _not_read(path: Path, error: OSError) -> CheckpointError:
    why = error.strerror or str(error)
    if error.errno == errno.EIO:  # The disk has lost a part of it.
        return _damaged(path, why)
    return CheckpointError(f"{path.name} cannot be read: {why}.", f"Check {path}.")


def _verify_zip(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        raise _damaged(path, "it is not a checkpoint, or only the beginning of one")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
        raise _damaged(path, "it is not a whole zip file") from error
    if damaged is not None:
        raise _damaged(path, f"the checksum of its part {damaged} is wrong")


def _checked(path: Path, payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict) or not isinstance(payload.get("format"), int):
        raise _damaged(path, "it holds something else than a run")
    if payload["format"] > FORMAT:
        raise _newer(path, payload["format"])
    wrong = [key for key, kind in _EXPECTED.items() if not isinstance(payload.get(key), kind)]
    if wrong:
        raise _damaged(path, f"it lacks {', '.join(wrong)}")
    refuse_spoilt(payload["model"], f"{path.name} cannot be used", _others(path))
    return payload


def refuse_spoilt(weights: Mapping[str, Any], consequence: str, hint: str) -> None:
    """Refuse weights that no step and no evaluation could use.

    Raises:
        SpoiltWeightsError: one of them holds a value that is not finite.
    """
    for name, weight in weights.items():
        if isinstance(weight, torch.Tensor) and not _is_finite(weight):
            raise SpoiltWeightsError(
                f"{consequence}: the weight {name} holds values that are not finite.", hint
            )


def _is_finite(weight: torch.Tensor) -> bool:
    """Look at the two extremes: they show every infinity and NaN, five times faster than a map."""
    if weight.numel() == 0:
        return True
    return bool(torch.stack(torch.aminmax(weight)).isfinite().all())


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


def _newer(path: Path, found: int) -> CheckpointError:
    return CheckpointError(
        f"{path.name} was written by a newer llm-trainer (format {found}; this one reads up to "
        f"{FORMAT}).",
        "Use the newer llm-trainer for this run.",
    )


def _damaged(path: Path, why: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"The checkpoint {path.name} is damaged: {why}.", _others(path))


def _others(path: Path) -> str:
    others = names_there(path.parent, but=path.stem)
    return f"Use another one with --from or --checkpoint. There is: {others}."
