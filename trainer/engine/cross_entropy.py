"""The output head and its loss in one step, without ever holding the logits of all tokens.

4,096 tokens and 8,192 vocabulary entries make 128 MiB of float32 logits, and as much again for
their gradient. Here a few hundred tokens at a time go through head, softmax and both gradients
(as in Cut Your Losses, arXiv 2411.09009, and Liger Kernel, arXiv 2410.10989).

``torch.nn.functional.linear_cross_entropy`` does the same as fast, but answers in the type of its
input: a loss curve in bfloat16 has two digits. This one sums in float32 whatever the input.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**26}
"""Logits held at once: what stays in a processor's cache, and what keeps a GPU busy."""


def linear_cross_entropy(features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of ``features @ weight.T`` as float32, differentiable once.

    The products run in the type of autocast where it is on.

    Args:
        features: (N, width).
        weight: (V, width).
        targets: (N,) int64, each in [0, V).
    """
    wanted = torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad)
    if not wanted:
        return token_cross_entropy(features, weight, targets).mean()
    features, weight = _as_autocast(features), _as_autocast(weight)
    total: Tensor = _sum_and_gradients(features, weight, targets)[0]
    return total / targets.numel()


@torch.no_grad()
def token_cross_entropy(features: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each row as float32 (N,), without a gradient."""
    features, weight = _as_autocast(features), _as_autocast(weight)
    rows = _rows_at_once(features.device.type, weight.shape[0])
    parts = zip(torch.split(features, rows), torch.split(targets, rows), strict=True)
    losses = [F.cross_entropy((x @ weight.T).float(), y, reduction="none") for x, y in parts]
    return torch.cat(losses)


def _as_autocast(x: Tensor) -> Tensor:
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _rows_at_once(device_type: str, vocab_size: int) -> int:
    return max(1, _CHUNK_LOGITS.get(device_type, 2**24) // vocab_size)


# One opaque operator: torch.compile would unroll the loop over the chunks and gains nothing by it.
@torch.library.custom_op("llm_trainer::linear_cross_entropy", mutates_args=())
def _sum_and_gradients(
    features: Tensor, weight: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the summed loss and its gradients by features and weight.

    The gradients are made on the way, while a chunk's logits are at hand, and are kept unscaled
    until the backward pass: scaled by 1 / N they would vanish in float16.
    """
    total = torch.zeros((), dtype=torch.float32, device=features.device)
    by_features = torch.empty_like(features)
    by_weight = torch.zeros_like(weight, dtype=torch.float32)
    rows = min(_rows_at_once(features.device.type, weight.shape[0]), len(features))
    # One buffer for all chunks and all that becomes of their logits: memory that is taken anew
    # is cleared by the system first, which takes as long as the softmax.
    buffer = features.new_empty((rows, weight.shape[0]), dtype=torch.float32)
    for first in range(0, len(features), rows):
        x, y = features[first : first + rows], targets[first : first + rows, None]
        values = buffer[: len(x)]
        total += _to_gradients_(_logits_into(values, x, weight), y)
        by_logits = values.to(x.dtype)
        torch.mm(by_logits, weight, out=by_features[first : first + rows])
        _add_product(by_weight, by_logits.t(), x)
    return total, by_features, by_weight


def _logits_into(buffer: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    if x.dtype == torch.float32:
        return torch.mm(x, weight.t(), out=buffer)
    return buffer.copy_(x @ weight.t())


def _to_gradients_(logits: Tensor, targets: Tensor) -> Tensor:
    """Turn logits (N, V) in place into softmax minus one-hot and return their summed loss.

    Args:
        targets: (N, 1).
    """
    wanted, highest = logits.gather(1, targets), logits.amax(1, keepdim=True)
    sums = logits.sub_(highest).exp_().sum(1, keepdim=True)
    logits.div_(sums).scatter_add_(1, targets, logits.new_full(targets.shape, -1.0))
    return (sums.log() + highest - wanted).sum()


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    if a.dtype == total.dtype:
        total.addmm_(a, b)
    else:
        total += a @ b


@_sum_and_gradients.register_fake
def _(features: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    total = features.new_empty((), dtype=torch.float32)
    return total, torch.empty_like(features), torch.empty_like(weight, dtype=torch.float32)


def _keep_gradients(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1].detach(), output[2].detach())
    ctx.weight_dtype = inputs[1].dtype


def _backward(ctx: Any, by_total: Tensor, *_unused: Tensor) -> tuple[Tensor, Tensor, None]:
    by_features, by_weight = ctx.saved_tensors
    scaled = (by_features * by_total).to(by_features.dtype)
    return scaled, (by_weight * by_total).to(ctx.weight_dtype), None


_sum_and_gradients.register_autograd(_backward, setup_context=_keep_gradients)
