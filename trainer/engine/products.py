"""Products of one row, or of a few, with weights on the CPU: the fastest way for each count.

A row's product may differ in its last digits with the rows beside it: the kernels that are fast
for one row and those that are fast for many round otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float32]
Product = Callable[[Array], Array]
"""Takes (B, columns) to (B, rows) by a matrix of weights (rows, columns)."""

_MANY_ROWS = 8
"""From so many rows on they are better the right factor than the left one."""
_LARGE_BYTES = 2**24
"""Weights that are worth waking other threads for."""


def product(weights: Tensor) -> Product:
    """Return the product with weights, which stay where they are.

    Small ones are left to this thread: it is done before another has woken up. A single row is
    bound by reading the weights, which numpy starts sooner than torch.
    """
    if weights.nbytes >= _LARGE_BYTES:
        return lambda x: _times(x, weights)
    transposed = weights.numpy().T

    def small(x: Array) -> Array:
        if len(x) == 1:
            return cast(Array, x @ transposed)
        with _one_thread():
            return _times(x, weights)

    return small


def _times(x: Array, weights: Tensor) -> Array:
    rows = torch.from_numpy(x)
    if len(x) < _MANY_ROWS:
        return cast(Array, torch.mm(rows, weights.t()).numpy())
    return cast(Array, torch.mm(weights, rows.t()).t().contiguous().numpy())


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
