"""Running out of memory: told apart from other failures, and survived with smaller batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from trainer.errors import TrainingError

_Result = TypeVar("_Result")

_SIGNS = (
    "can't allocate memory",  # torch's allocator on Linux
    "not enough memory",  # the same on Windows
    "CUBLAS_STATUS_ALLOC_FAILED",  # cuBLAS, whose workspace is not of torch's allocator
)
"""What a plain RuntimeError says when memory is short; on a GPU torch has a class for it."""


@dataclass(frozen=True)
class Shortage:
    """Memory ran out; ``detail`` is what the allocator said, on one line."""

    detail: str


def unless_out_of_memory(work: Callable[[], _Result]) -> _Result | Shortage:
    """Return what ``work`` does, or a :class:`Shortage` when there is no memory for it.

    A shortage is returned, and not raised, because an exception holds on to all tensors of the
    frames it came through: whoever tries again smaller needs their memory.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return Shortage(str(error).strip().partition("\n")[0])


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an error means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def smaller(sequences: int, shortage: Shortage, device: torch.device) -> int:
    """Return half of a batch that did not fit, and hand unused memory of a GPU back.

    Args:
        sequences: in the batch that did not fit.

    Raises:
        TrainingError: it was a single one.
    """
    if sequences == 1:
        raise TrainingError(
            f"There is not enough memory even for one sequence at a time: {shortage.detail}",
            "Lower training.seq_length, or choose a smaller model (model.layers, model.width) or "
            'vocabulary (data.vocab_size); training.precision = "bf16" needs less than "off".',
        )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return (sequences + 1) // 2
