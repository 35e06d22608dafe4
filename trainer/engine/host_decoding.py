"""The fast way to further tokens on the CPU: a forward pass of its own, for one token a text.

Beside the matrix products, a token is so little work that most of its time would go into starting
operations: numpy takes a third of torch's time for that. Shapes are written as in
:mod:`trainer.engine.model`; B counts texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear

from trainer.engine.device_decoding import Decoder, Ids
from trainer.engine.key_values import RaggedCache
from trainer.engine.model import GPT, NORM_EPSILON, Block
from trainer.engine.products import Array, product

_PADDING_PAYS = 1.6
"""So much longer than the texts themselves may be what is read of them when they are padded."""


class HostDecoder(Decoder):
    """Reads prompts through the model, and each further token faster, on the CPU.

    It is made for the weights as they are: a model that has learned on needs a new one.

    Args:
        read_only: the model will not learn any more. Its matrices that read the same input are
            then laid side by side in place; else this takes copies of them.
    """

    def __init__(self, model: GPT, *, read_only: bool = False) -> None:
        super().__init__(model, torch.device("cpu"), nullcontext)
        blocks = cast(Iterable[Block], model.blocks)
        self._layers = [_Layer(block, read_only) for block in blocks]
        self._embedding = _array(model.embedding.weight)
        self._head = product(model.embedding.weight.detach())
        self._norm = _array(model.norm.weight)
        self._rotation = _rotation(model)
        self._copied_bytes = 0 if read_only else sum(layer.joined_bytes for layer in self._layers)

    @property
    def bytes(self) -> int:
        """Memory taken beside the model's own."""
        return self._copied_bytes + self._rotation.nbytes

    @torch.inference_mode()
    def step(self, tokens: Ids, texts: RaggedCache) -> Array:
        """As :meth:`Decoder.step`; the last digits may differ with the texts beside one."""
        held = HeldTexts(texts)
        # Spoilt weights are told by the logits, not by numpy's warnings on the way.
        with np.errstate(over="ignore", invalid="ignore"):
            cosines, sines = self._rotation[:, held.lengths, None]
            x: Array = self._embedding[tokens]
            for layer, room in zip(self._layers, held.rooms, strict=True):
                x += layer.attention(x, cosines, sines, room, held)
                x += layer.mlp(x)
            logits = self._head(_normalised(x) * self._norm)
        texts.advance()
        return logits


class HeldTexts:
    """What texts of any lengths have read, while each reads one token more.

    Attributes:
        lengths: tokens that each text has read, (B,).
        rooms: the memory (2, slots, K, positions, D) of each block.
        together: whether attention is faster for all texts at once, padded to the longest.
        unseen: then what to add to scores (B, K, H / K, longest); None: nothing.
    """

    def __init__(self, texts: RaggedCache) -> None:
        self.rooms = [room.numpy() for room in texts.rooms_for_one_more()]
        self.lengths = np.array(texts.lengths)
        self.rows = np.arange(len(self.lengths))
        counts = self.lengths + 1
        self.longest = int(counts.max())
        whole = len(counts) * self.longest
        self.together = whole <= _PADDING_PAYS * int(counts.sum())
        self.unseen: Array | None = None
        if self.together and int(counts.min()) < self.longest:
            behind = np.arange(self.longest) >= counts[:, None]
            self.unseen = np.where(behind, np.float32(-np.inf), np.float32(0))[:, None, None]


class _Layer:
    """One block for one token of B texts; each method returns what it adds to the stream."""

    def __init__(self, block: Block, in_place: bool) -> None:
        attention, mlp = block.attention, block.mlp
        inward = _side_by_side([attention.query, attention.key, attention.value], in_place)
        widen = _side_by_side([mlp.gate, mlp.up], in_place)
        self.joined_bytes = inward.nbytes + widen.nbytes
        self._inward, self._widen = product(inward), product(widen)
        self._outward = product(attention.output.weight.detach())
        self._narrow = product(mlp.down.weight.detach())
        self._heads, self._kv_heads = attention.heads, attention.kv_heads
        query, key = _array(attention.query_norm.weight), _array(attention.key_norm.weight)
        # The scale of the scores is taken into the norm of the queries.
        query = query / np.sqrt(np.float32(len(query)))
        self._head_norms = np.stack([query] * self._heads + [key] * self._kv_heads)
        self._attention_norm = _array(block.attention_norm.weight)
        self._mlp_norm = _array(block.mlp_norm.weight)

    def attention(
        self, x: Array, cosines: Array, sines: Array, room: Array, texts: HeldTexts
    ) -> Array:
        """Attend from one position of each text to itself and all before it, and remember it."""
        rows, normed, width = len(x), *self._head_norms.shape
        found = self._inward(_normalised(x) * self._attention_norm).reshape(rows, -1, width)
        turned = _normalised(found[:, :normed]) * self._head_norms
        found[:, :normed] = turned * cosines + _halves_swapped(turned) * sines
        kept = found[:, self._heads :].reshape(rows, 2, self._kv_heads, width)
        room[:, texts.rows, :, texts.lengths] = kept
        # Query heads stand in groups, one a key head: (B, K, H / K, D).
        queries = found[:, : self._heads].reshape(rows, self._kv_heads, -1, width)
        attended = _attended_together if texts.together else _attended_one_by_one
        return self._outward(attended(queries, room, texts).reshape(rows, -1))

    def mlp(self, x: Array) -> Array:
        """SwiGLU."""
        both = self._widen(_normalised(x) * self._mlp_norm)
        gate, up = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
        return self._narrow(up * gate / (np.exp(-gate) + 1))


def _attended_together(queries: Array, room: Array, texts: HeldTexts) -> Array:
    """Return what queries (B, K, H / K, D) find, all texts padded to the longest."""
    keys, values = room[:, : len(queries), :, : texts.longest]
    return _attended(queries, keys, values, texts.unseen)


def _attended_one_by_one(queries: Array, room: Array, texts: HeldTexts) -> Array:
    """As :func:`_attended_together`, where texts are too unlike for that."""
    found = np.empty_like(queries)
    for row, length in enumerate(texts.lengths.tolist()):
        keys, values = room[:, row, :, : length + 1]
        found[row] = _attended(queries[row], keys, values)
    return found


def _attended(queries: Array, keys: Array, values: Array, unseen: Array | None = None) -> Array:
    """Return the values (..., T, D) in the shares that queries (..., H / K, D) give their keys."""
    shares: Array = queries @ keys.swapaxes(-1, -2)
    if unseen is not None:
        shares += unseen
    shares -= shares.max(-1, keepdims=True)
    np.exp(shares, out=shares)
    sums = shares.sum(-1, keepdims=True)
    found: Array = shares @ values
    found /= sums
    return found


def _side_by_side(parts: Sequence[Linear], in_place: bool) -> Tensor:
    """Return the weights that read the same input as one matrix, (rows of all, columns)."""
    whole = torch.cat([part.weight.detach() for part in parts])
    if in_place:
        sizes = [len(part.weight) for part in parts]
        for part, rows in zip(parts, torch.split(whole, sizes), strict=True):
            part.weight.data = rows
    return whole


def _array(weight: Tensor) -> Array:
    return cast(Array, weight.detach().numpy())


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
