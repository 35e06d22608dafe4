"""The peer: GPT-2 of ``transformers`` in the plain loop that its documentation shows.

Equal width, depth, heads, vocabulary and context; fp32, eager, AdamW for everything. ``inputs``
are the labels too: the library shifts them itself.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.config import ModelShape
from trainer.engine.trainee import Trainee

NOT_HERE = "not measured: pip install transformers"

LEARNING_RATE, WEIGHT_DECAY, LONGEST_GRADIENT = 6e-4, 0.1, 1.0
"""The defaults of nanoGPT, a plain and well-known trainer of GPT-2."""

WARMUP_SHARE = 0.05


def library() -> ModuleType | None:
    """Return ``transformers``, or None where it is not installed."""
    try:
        import transformers
    except ImportError:
        return None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    module: ModuleType = transformers
    return module


def gpt2(transformers: ModuleType, shape: ModelShape, vocab_size: int, context: int) -> nn.Module:
    """Build an untrained GPT-2 without dropout."""
    config = transformers.GPT2Config(
        vocab_size=vocab_size,
        n_positions=context,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(1337)
    model: nn.Module = transformers.GPT2LMHeadModel(config)
    return model.train()


class PlainTrainer:
    """The peer's training step, time after time, on the batches of a run.

    Args:
        trainee: whose sizes and batches are used; its micro-batches are the peer's.
        total_steps: of a warm-up and a cosine to the end; None: the rate stays.
    """

    def __init__(
        self,
        transformers: ModuleType,
        trainee: Trainee,
        total_steps: int | None = None,
        learning_rate: float = LEARNING_RATE,
    ) -> None:
        ours = trainee.model
        self._device = trainee.device
        self.model = gpt2(transformers, ours.shape, ours.vocab_size, ours.context).to(self._device)
        self._batches = trainee.batches.iterate(0, trainee.plan.total_steps)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY
        )
        self._schedule: Any = None
        if total_steps is not None:
            self._schedule = transformers.get_cosine_schedule_with_warmup(
                self._optimizer, round(WARMUP_SHARE * total_steps), total_steps
            )

    def take(self) -> int:
        """Train a step, wait for its loss, and return how many tokens it was."""
        inputs = next(self._batches)[0][0].to(self._device)
        loss: Tensor = self.model(input_ids=inputs, labels=inputs).loss
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        self._optimizer.zero_grad()
        loss.item()
        return inputs.numel()


class PeerScorer:
    """Lets the product's evaluation score a model of ``transformers``."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model

    @property
    def training(self) -> bool:
        return self._model.training

    @training.setter
    def training(self, mode: bool) -> None:
        self._model.train(mode)

    def train(self, mode: bool = True) -> nn.Module:
        """Switch between training and evaluation."""
        return self._model.train(mode)

    def token_losses(self, tokens: Tensor, targets: Tensor, scored: int | None = None) -> Tensor:
        """Return the negative log-likelihood (B, scored) of the last targets, in nats."""
        first = 0 if scored is None else tokens.shape[1] - scored
        logits = self._model(input_ids=tokens).logits[:, first:].float()
        losses = F.cross_entropy(
            logits.flatten(0, 1), targets[:, first:].flatten(), reduction="none"
        )
        return losses.view(len(tokens), -1)
