"""The first token embeddings, from which tokens stand near each other in the training text.

A small model spends much of a short training on finding out which tokens are alike. Counting
tells the most of it in a few seconds: the embedding begins as the truncated singular value
decomposition of the matrix of positive pointwise mutual information, with the choices of Levy,
Goldberg and Dagan (2015), "Improving Distributional Similarity with Lessons Learned from Word
Embeddings": contexts weighted by 1 / distance, their distribution smoothed, and the square roots
of the singular values.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

EMBEDDING_STD = 0.06
LEARNING_RATE_RATIO = 0.4
"""The learning rate of such an embedding as a share of the others': at the full rate AdamW has
forgotten after a few hundred steps where it began."""

_NEIGHBOURS = 4
_CONTEXT_SMOOTHING = 0.75
_SINGULAR_VALUE_POWER = 0.5
_MOST_CONTEXTS = 8192
_MOST_TOKENS = 2**24
_OVERSAMPLING = 32
_POWER_ITERATIONS = 3


def embedding(
    tokens: npt.NDArray[np.uint16], vocab_size: int, width: int, *, seed: int, device: torch.device
) -> Tensor:
    """Return embeddings (vocab_size, width), float32, of mean size ``EMBEDDING_STD``.

    The same tokens and seed give the same embeddings on the same kind of device. A token that
    does not occur gets zeros. It takes memory for ``vocab_size`` x 8,192 numbers.

    Args:
        tokens: ids of the training text, (n,); of a long text the beginning is enough.
    """
    ids = torch.from_numpy(tokens[:_MOST_TOKENS].astype(np.int64)).to(device)
    generator = torch.Generator().manual_seed(seed)
    information = mutual_information_(count_neighbours(ids, vocab_size))
    vectors = _left_singular_vectors(information, width, generator)
    # Turned at random: AdamW moves every coordinate alike, so none may be larger than others.
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q.to(device)
    turned: Tensor = vectors @ turn
    return turned.mul_(EMBEDDING_STD / turned.std().clamp(min=1e-12))


def count_neighbours(ids: Tensor, vocab_size: int) -> Tensor:
    """Count how often a frequent token stands near a token: 12 times if beside it, 6 if one
    further, 4, 3.

    Whole numbers: their sum is exact in float32, so that its order, which is chance on a GPU, does
    not matter.

    Args:
        ids: (n,) int64.

    Returns:
        (vocab_size, contexts): tokens by the most frequent tokens, at most 8,192 of them.
    """
    frequency = torch.bincount(ids, minlength=vocab_size)
    contexts = min(vocab_size, _MOST_CONTEXTS)
    rank = torch.argsort(torch.argsort(frequency, descending=True, stable=True))
    counts = torch.zeros(vocab_size * contexts, device=ids.device)
    for distance in range(1, _NEIGHBOURS + 1):
        left, right = ids[:-distance], ids[distance:]
        for token, context in ((left, right), (right, left)):
            column = rank[context]
            seen = column < contexts
            places = token[seen] * contexts + column[seen]
            weight = counts.new_full((1,), 12.0 / distance).expand(len(places))
            counts.index_add_(0, places, weight)
    return counts.view(vocab_size, contexts)


def mutual_information_(counts: Tensor) -> Tensor:
    """Turn counts (V, contexts) in place into max(0, log of how much more often than by chance)."""
    of_token = counts.sum(1, keepdim=True).clamp_(min=1.0)
    of_context = counts.sum(0, keepdim=True).clamp_(min=1.0) ** _CONTEXT_SMOOTHING
    counts.div_(of_token).div_(of_context / of_context.sum())
    # log(0) is minus infinity, which is below zero like all that is less frequent than by chance.
    return counts.log_().clamp_(min=0.0)


def _left_singular_vectors(matrix: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Return the first left singular vectors, scaled, (rows, rank).

    By subspace iteration with oversampling: Halko, Martinsson and Tropp (2011), arXiv 0909.4061,
    algorithm 4.4.
    """
    columns = min(rank + _OVERSAMPLING, *matrix.shape)
    basis = torch.randn(matrix.shape[1], columns, generator=generator).to(matrix.device)
    for _ in range(_POWER_ITERATIONS):
        basis = torch.linalg.qr(matrix @ basis).Q
        basis = torch.linalg.qr(matrix.T @ basis).Q
    u, sizes, _ = torch.linalg.svd(matrix @ basis, full_matrices=False)
    scaled = u * sizes**_SINGULAR_VALUE_POWER
    return torch.nn.functional.pad(scaled[:, :rank], (0, max(0, rank - columns)))
