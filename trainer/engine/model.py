"""The network: a GPT-style decoder with the architecture of dense Qwen3.

RMSNorm before each part, rotary positions, normalised queries and keys, grouped key and value
heads, SwiGLU, no biases, input embedding and output head shared (Qwen3 technical report, arXiv
2505.09388). Nothing is added to that, so that the weights open unchanged in other programs.

Shapes are written with B sequences, T tokens, H heads, K key and value heads, D head width and
V vocabulary entries.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.config import ModelShape
from trainer.engine.cross_entropy import linear_cross_entropy, token_cross_entropy
from trainer.engine.key_values import KeyValueCache, LayerMemory, Memory

ROPE_THETA = 10_000.0
NORM_EPSILON = 1e-6
EMBEDDING_STD = 0.02


class GPT(nn.Module):
    """A decoder-only language model.

    Args:
        shape: sizes of the network.
        vocab_size: entries of the vocabulary.
        context: most tokens that the model can see at once.
        dropout: share of activations dropped while training: of the embeddings, and of what each
            part adds to the residual stream. Not of the attention weights: a CPU's fused attention
            cannot do that, and the other way is slower.
    """

    def __init__(
        self, shape: ModelShape, vocab_size: int, context: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.shape, self.vocab_size, self.context = shape, vocab_size, context
        self.embedding = nn.Embedding(vocab_size, shape.width)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width)
        cosines, sines = rotary_tables(context, shape.head_width)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Draw the first weights; every part of the residual stream starts at the same size.

        What a block adds is scaled down by the number of parts that add (GPT-2, section 2.3), so
        that the stream does not grow with depth.
        """
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        for name, weight in self.blocks.named_parameters():
            if weight.ndim == 2:
                std = 1.0 / math.sqrt(weight.shape[1])
                if name.endswith(("output.weight", "down.weight")):
                    std /= math.sqrt(2 * self.shape.layers)
                nn.init.normal_(weight, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, V) of the token after each of ``tokens`` (B, T)."""
        return F.linear(self.features(tokens), self.embedding.weight)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean negative log-likelihood of ``targets`` (B, T), in nats, as float32."""
        features = self.features(tokens).flatten(0, 1)
        return linear_cross_entropy(features, self.embedding.weight, targets.flatten())

    def token_losses(self, tokens: Tensor, targets: Tensor, scored: int | None = None) -> Tensor:
        """Return the negative log-likelihood of each target, in nats, as float32; no gradient.

        Args:
            tokens, targets: (B, T).
            scored: score only the last so many positions of each sequence; None: all.

        Returns:
            (B, scored): the head is not computed for the positions before.
        """
        first = 0 if scored is None else tokens.shape[1] - scored
        features = self.features(tokens)[:, first:]
        wanted = targets[:, first:]
        losses = token_cross_entropy(
            features.flatten(0, 1), self.embedding.weight, wanted.flatten()
        )
        return losses.view(wanted.shape)

    def next_token_logits(self, tokens: Tensor, cache: Memory | None = None) -> Tensor:
        """Return the logits (B, V), as float32, of the token that follows ``tokens`` (B, T).

        With a cache, ``tokens`` continue what the cache holds, and are added to it.
        """
        return F.linear(self.features(tokens, cache)[:, -1], self.embedding.weight).float()

    def features(self, tokens: Tensor, cache: Memory | None = None) -> Tensor:
        """Return what the output head reads: (B, T, width).

        Raises:
            ValueError: there are more tokens than the context holds.
        """
        count = tokens.shape[1]
        last = count if cache is None else cache.after(count)
        if last > self.context:
            raise ValueError(f"{last} tokens do not fit a context of {self.context}")
        cosines, sines = cast(Tensor, self.cosines), cast(Tensor, self.sines)
        x = self.dropout(self.embedding(tokens))
        if cache is None:
            turns = cosines[:count], sines[:count]
            for block in self.blocks:
                x = block(x, *turns)
        else:
            turns = cache.rotation(cosines, count), cache.rotation(sines, count)
            mask = cache.mask(count)
            for block, memory in zip(self.blocks, cache.layers, strict=True):
                x = block(x, *turns, memory, mask)
        return cast(Tensor, self.norm(x))

    def new_cache(self) -> KeyValueCache:
        """Return an empty cache for this model's depth and context."""
        return KeyValueCache(self.shape.layers, self.context)


class Block(nn.Module):
    """Attention, then SwiGLU; each adds to the residual stream."""

    def __init__(self, shape: ModelShape, dropout: float) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width)
        self.attention = Attention(shape)
        self.mlp_norm = RMSNorm(shape.width)
        self.mlp = SwiGLU(shape)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        cosines: Tensor,
        sines: Tensor,
        memory: LayerMemory | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        attended = self.attention(self.attention_norm(x), cosines, sines, memory, mask)
        x = x + self.dropout(attended)
        return x + cast(Tensor, self.dropout(self.mlp(self.mlp_norm(x))))


class Attention(nn.Module):
    """Causal attention with grouped key and value heads (arXiv 2305.13245) and QK-norm."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.heads, self.kv_heads = shape.heads, shape.kv_heads
        inner, kv_inner = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
        self.query = nn.Linear(shape.width, inner, bias=False)
        self.key = nn.Linear(shape.width, kv_inner, bias=False)
        self.value = nn.Linear(shape.width, kv_inner, bias=False)
        self.output = nn.Linear(inner, shape.width, bias=False)
        self.query_norm = RMSNorm(shape.head_width)
        self.key_norm = RMSNorm(shape.head_width)

    def forward(
        self,
        x: Tensor,
        cosines: Tensor,
        sines: Tensor,
        memory: LayerMemory | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        queries = self.query_norm(self._split(self.query(x), self.heads))
        keys = self.key_norm(self._split(self.key(x), self.kv_heads))
        values = self._split(self.value(x), self.kv_heads).transpose(1, 2)
        queries = rotate(queries.transpose(1, 2), cosines, sines)
        keys = rotate(keys.transpose(1, 2), cosines, sines)
        if memory is not None:
            keys, values = memory.append(keys, values)
        mixed = F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=queries.shape[2] == keys.shape[2],
            enable_gqa=self.heads != self.kv_heads,
        )
        return cast(Tensor, self.output(mixed.transpose(1, 2).flatten(2)))

    @staticmethod
    def _split(x: Tensor, heads: int) -> Tensor:
        """(B, T, heads * D) → (B, T, heads, D)."""
        return x.view(*x.shape[:2], heads, x.shape[2] // heads)


class SwiGLU(nn.Module):
    """The gated linear unit of Shazeer (2020), arXiv 2002.05202."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.down(F.silu(self.gate(x)) * self.up(x)))


class Dropout(nn.Module):
    """Drops activations while training (Srivastava et al., 2014), and scales up those that stay.

    On a CPU the mask is made of 16 random bits a value, four values from each draw of the
    generator: drawing a number for each takes several times as long as all else here. The share
    that is dropped is the nearest multiple of 1 / 65,536.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0.0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.share)
        dropped = round(self.share * 2**16)
        draws = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 4),))
        kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 2**15
        return x * kept * (2**16 / (2**16 - dropped))


class RMSNorm(nn.Module):
    """Root mean square normalisation (arXiv 1910.07467) over the last axis, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.rms_norm(x.float(), self.weight.shape, self.weight, NORM_EPSILON)
        return normed.type_as(x)


def rotary_tables(context: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines (context, head_width / 2) of rotary positions.

    Source: RoFormer (arXiv 2104.09864), with theta = 10,000.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.float64) / head_width
    angles = torch.outer(torch.arange(context, dtype=torch.float64), ROPE_THETA**-exponents)
    return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair (i, i + D/2) of ``x`` (B, H, T, D) by the angle of its position."""
    first, second = x.chunk(2, dim=-1)
    turned = (first * cosines - second * sines, second * cosines + first * sines)
    return torch.cat(turned, dim=-1).type_as(x)
