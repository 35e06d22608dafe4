"""What a model expects next, one token after the other: the fast way on each kind of device.

Shapes are written as in :mod:`trainer.engine.model`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.engine.model import GPT, NORM_EPSILON, Block, KeyValueCache, LayerCache

Autocast = Callable[[], AbstractContextManager[Any]]
Array = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Product = Callable[[Array], Array]
"""Takes (B, columns) to (B, rows) by a matrix of weights (rows, columns)."""


def decoder_for(model: GPT, device: torch.device, autocast: Autocast) -> Decoder:
    """Return what writes fastest with a model that is on a device.

    Args:
        autocast: makes the context of a forward pass on a GPU. On the CPU texts are written in
            fp32, which is the faster format for one token and the same on every machine.
    """
    if device.type == "cpu":
        return HostDecoder(model)
    return Decoder(model, device, autocast)


class Decoder:
    """Reads tokens through the model itself."""

    def __init__(self, model: GPT, device: torch.device, autocast: Autocast) -> None:
        self._model, self._device, self._autocast = model, device, autocast

    @property
    def context(self) -> int:
        """Most tokens that can be held."""
        return self._model.context

    def new_cache(self) -> KeyValueCache:
        """Return an empty cache."""
        return self._model.new_cache()

    @torch.inference_mode()
    def next_logits(self, tokens: Ids, cache: KeyValueCache) -> Array:
        """Return the logits (B, V), float32, of what follows ``tokens`` (B, T).

        The tokens continue what the cache holds, and are added to it.
        """
        rows = torch.from_numpy(tokens).to(self._device)
        with _evaluating(self._model), self._autocast():
            logits = self._model.next_token_logits(rows, cache)
        return cast(Array, logits.cpu().numpy())


@contextmanager
def _evaluating(model: GPT) -> Iterator[None]:
    """Put a model into evaluation mode where it is not; walking through it costs a token's time."""
    if not model.training:
        yield
        return
    model.eval()
    try:
        yield
    finally:
        model.train()


class HostDecoder(Decoder):
    """Reads prompts through the model, and each further token faster, on the CPU.

    Beside the matrix products, a token is so little work that most of its time would go into
    starting operations: numpy takes a third of torch's time for that. The products are bound by
    reading the weights from memory; they are left to torch, for its threads, and for batches.
    It is made for the weights as they are: a model that has learned on needs a new one.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__(model, torch.device("cpu"), nullcontext)
        self._embedding = _array(model.embedding.weight)
        self._head = _product(model.embedding.weight)
        self._layers = [_Layer(block) for block in cast(Iterable[Block], model.blocks)]
        self._norm = _array(model.norm.weight)
        self._rotation = _rotation(model)

    @torch.inference_mode()
    def next_logits(self, tokens: Ids, cache: KeyValueCache) -> Array:
        """As :meth:`Decoder.next_logits`; the last digits may differ with B and T."""
        if tokens.shape[1] > 1 or cache.length == 0:
            return super().next_logits(tokens, cache)
        # Spoilt weights are told by the logits, not by numpy's warnings on the way.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._step(tokens[:, 0], cache)

    def _step(self, tokens: Ids, cache: KeyValueCache) -> Array:
        cosines, sines = self._rotation[:, cache.length]
        x: Array = self._embedding[tokens]
        for layer, memory in zip(self._layers, cache.layers, strict=True):
            x += layer.attention(x, cosines, sines, memory)
            x += layer.mlp(x)
        return self._head(_normalised(x) * self._norm)


class _Layer:
    """One block for one token of B texts; each method returns what it adds to the stream."""

    def __init__(self, block: Block) -> None:
        attention, mlp = block.attention, block.mlp
        self._inward = _product(
            attention.query.weight, attention.key.weight, attention.value.weight
        )
        self._outward = _product(attention.output.weight)
        self._widen = _product(mlp.gate.weight, mlp.up.weight)
        self._narrow = _product(mlp.down.weight)
        self._heads, self._kv_heads = attention.heads, attention.kv_heads
        query, key = _array(attention.query_norm.weight), _array(attention.key_norm.weight)
        # The scale of the scores is taken into the norm of the queries.
        query = query / np.sqrt(np.float32(len(query)))
        self._head_norms = np.stack([query] * self._heads + [key] * self._kv_heads)
        self._attention_norm = _array(block.attention_norm.weight)
        self._mlp_norm = _array(block.mlp_norm.weight)

    def attention(self, x: Array, cosines: Array, sines: Array, memory: LayerCache) -> Array:
        """Attend from one position to itself and all before it, and remember it."""
        rows, heads, width = len(x), self._heads, self._head_norms.shape[1]
        found = self._inward(_normalised(x) * self._attention_norm).reshape(rows, -1, width)
        turned = _normalised(found[:, : len(self._head_norms)]) * self._head_norms
        turned = turned * cosines + _halves_swapped(turned) * sines
        at = memory.length
        memory.length += 1
        keys, values = memory.room.numpy()
        keys[:, :, at] = turned[:, heads:]
        values[:, :, at] = found[:, len(self._head_norms) :]
        # Query heads stand in groups, one a key head: (B, K, H / K, D).
        queries = turned[:, :heads].reshape(rows, self._kv_heads, -1, width)
        weights = _softmax(queries @ keys[:, :, : at + 1].swapaxes(2, 3))
        return self._outward((weights @ values[:, :, : at + 1]).reshape(rows, -1))

    def mlp(self, x: Array) -> Array:
        """SwiGLU."""
        both = self._widen(_normalised(x) * self._mlp_norm)
        gate, up = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
        return self._narrow(up * gate / (np.exp(-gate) + 1))


def _array(weight: Tensor) -> Array:
    return cast(Array, weight.detach().float().numpy())


def _product(*weights: Tensor) -> Product:
    """Return the product with weights that read the same input, all at once."""
    whole = weights[0] if len(weights) == 1 else torch.cat(weights)
    transposed = whole.detach().float().t()
    return lambda x: cast(Array, torch.mm(torch.from_numpy(x), transposed).numpy())


def _rotation(model: GPT) -> Array:
    """Return cosines and sines (2, context, D) that turn a whole head at once.

    A head times the cosines, and its halves swapped times the sines, make
    :func:`trainer.engine.model.rotate`.
    """
    cosines, sines = _array(cast(Tensor, model.cosines)), _array(cast(Tensor, model.sines))
    return np.stack([np.hstack([cosines, cosines]), np.hstack([-sines, sines])])


def _halves_swapped(x: Array) -> Array:
    half = x.shape[-1] // 2
    return np.concatenate((x[..., half:], x[..., :half]), axis=-1)


def _normalised(x: Array) -> Array:
    """RMSNorm over the last axis, before its weight."""
    squares = (x * x).sum(-1, keepdims=True)
    normalised: Array = x / np.sqrt(squares / x.shape[-1] + NORM_EPSILON)
    return normalised


def _softmax(x: Array) -> Array:
    shares: Array = np.exp(x - x.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    return shares
