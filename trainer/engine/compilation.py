"""Whether to compile the training step, and falling back to eager when that fails."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from trainer.config import Config
from trainer.engine.model import GPT

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

WORTHWHILE_SECONDS = 120.0
"""Eager training must be expected to last this long before compiling (10 to 60 s) pays."""

_ASSUMED_CPU_FLOPS = 1e11
"""A cautious speed of eager training on a few cores, for the decision only."""


@dataclass
class Compiled:
    """The loss of a micro-batch, compiled where that was decided and works."""

    loss: Loss
    active: bool
    reason: str
    warming_up: bool

    @classmethod
    def decide(
        cls,
        config: Config,
        model: GPT,
        steps_left: int,
        device: torch.device,
        before: bool | None = None,
    ) -> Compiled:
        """Compile when asked to, or under ``auto`` when the run is long enough to pay for it.

        Args:
            before: for a resumed run, whether it was compiled; ``auto`` keeps to that, because
                compiled and eager sums differ in their last bits.
        """
        wanted, reason = should_compile(
            config.training.compile,
            seconds=expected_seconds(config, model, steps_left),
            device_type=device.type,
            has_compiler=shutil.which("g++") is not None or shutil.which("clang++") is not None,
            before=before,
        )
        if not wanted:
            return cls(model.loss, False, reason, False)
        compiled = cls(model.loss, True, reason, True)
        compiled.loss = compiled._with_fallback(model.loss)
        return compiled

    def _with_fallback(self, eager: Loss) -> Loss:
        # Kernels for each shape: a run that is resumed past the first shape must find the same.
        fast: Loss = torch.compile(eager, dynamic=False)

        def loss(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            try:
                return fast(inputs, targets)
            except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as e:
                self.loss, self.active = eager, False
                self.reason = f"Compiling failed, training goes on without it: {_first_line(e)}"
                return eager(inputs, targets)

        return loss


def should_compile(
    setting: str,
    *,
    seconds: float,
    device_type: str,
    has_compiler: bool,
    before: bool | None = None,
) -> tuple[bool, str]:
    """Decide, and say why in words."""
    if setting == "off":
        return False, "Not compiled: training.compile is off."
    if setting == "on":
        return True, "Compiling the training step: training.compile is on."
    if device_type == "cpu" and not has_compiler:
        return False, "Not compiled: there is no C++ compiler here (install g++ to train faster)."
    if before is not None:
        how = "Compiling the training step" if before else "Not compiled"
        return before, f"{how}: as before the resume."
    if device_type == "cpu" and seconds < WORTHWHILE_SECONDS:
        return False, "Not compiled: the run is too short to pay for it."
    return True, "Compiling the training step: the run is long enough to pay for it."


def expected_seconds(config: Config, model: GPT, steps_left: int) -> float:
    """Guess how long eager training on a CPU would take, from six operations a weight and token.

    Source of the rule: Kaplan et al., 2020 (arXiv 2001.08361), section 2.1.
    """
    training = config.training
    tokens = steps_left * training.batch_size * training.seq_length * training.grad_accum_steps
    weights = sum(weight.numel() for weight in model.parameters())
    return 6.0 * weights * tokens / _ASSUMED_CPU_FLOPS


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
