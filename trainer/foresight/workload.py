"""How much work a configuration asks for: steps and arithmetic, worked out without torch."""

from __future__ import annotations

from trainer.config import ModelShape, TrainingSettings

_PASSES = 3
"""The backward pass costs twice the forward one (Kaplan et al., 2020, arXiv 2001.08361)."""


def tokens_per_step(training: TrainingSettings) -> int:
    """Return the tokens that one optimizer step is trained on."""
    return training.batch_size * training.grad_accum_steps * training.seq_length


def windows(tokens: int, seq_length: int) -> int:
    """Return how many windows an epoch deals out; its offset may leave out the last one."""
    return max(0, (tokens - seq_length) // seq_length)


def steps_per_epoch(tokens: int, training: TrainingSettings) -> int:
    """Return the steps that one pass over so many tokens makes; what fills no step is left out."""
    sequences = training.batch_size * training.grad_accum_steps
    return windows(tokens, training.seq_length) // sequences


def steps_of(training: TrainingSettings, per_epoch: int) -> int:
    """Return the steps of a whole run."""
    steps = training.epochs * per_epoch
    return steps if training.max_steps is None else min(steps, training.max_steps)


def flops_per_token(shape: ModelShape, vocab_size: int, context: int) -> float:
    """Count the floating-point operations of one training token, forward and backward.

    A multiplication and its addition are two. Counted are the matrix products alone: those with
    the weights, the output head once and the look-up in the embedding not at all, and the two of
    attention. Work done twice to save memory does not count.
    """
    queries, keys = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    block = 2 * shape.width * (queries + keys) + 3 * shape.width * shape.hidden
    weights = shape.layers * block + vocab_size * shape.width
    compared = shape.layers * queries * (context + 1) / 2
    return _PASSES * (2.0 * weights + 4.0 * compared)
