"""The optimizers: Muon for the matrices of the blocks, AdamW for the rest; or AdamW for all."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from trainer.config import TrainingSettings
from trainer.engine.model import GPT

MUON_MOMENTUM = 0.95
ADAMW_BETAS = (0.9, 0.95)
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5
_RMS_OF_ADAMW = 0.2


class Optimizers:
    """The optimizers of one model, moved as one; ``parts`` names each for a gradient scaler."""

    def __init__(self, parts: Mapping[str, torch.optim.Optimizer], learning_rate: float) -> None:
        self._named = dict(parts)
        self._highest = learning_rate
        self._base_rates = [
            [float(group["lr"]) for group in part.param_groups] for part in self.parts
        ]
        self.learning_rate = learning_rate

    @property
    def parts(self) -> tuple[torch.optim.Optimizer, ...]:
        return tuple(self._named.values())

    def set_learning_rate(self, fraction: float) -> None:
        """Set every group's rate to this share of its highest."""
        self.learning_rate = self._highest * fraction
        for part, rates in zip(self.parts, self._base_rates, strict=True):
            for group, rate in zip(part.param_groups, rates, strict=True):
                group["lr"] = rate * fraction

    def step(self, unless: Tensor | None = None) -> None:
        """Move the weights along their gradients.

        Args:
            unless: a flag, () bool on the weights' device, that when set keeps all as it is. The
                kernels themselves look at it, so that nobody waits for its value; gradients may
                be anything then.
        """
        for part in self.parts:
            with _flagged(part, unless):
                part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the momenta of every weight; rates and the like come from the settings."""
        return {name: part.state_dict()["state"] for name, part in self._named.items()}

    def forget(self) -> None:
        """Let go of all momenta, as before the first step."""
        for part in self.parts:
            part.load_state_dict({**part.state_dict(), "state": {}})

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Take over saved momenta.

        Raises:
            ValueError: they are of other optimizers, or of weights of another shape.
        """
        if set(states) != set(self._named):
            raise ValueError(
                f"the optimizers saved are {', '.join(sorted(states))}, "
                f"those of this configuration {', '.join(sorted(self._named))}"
            )
        for name, part in self._named.items():
            _check_shapes(name, part, states[name])
            part.load_state_dict({**part.state_dict(), "state": states[name]})


@contextlib.contextmanager
def _flagged(part: torch.optim.Optimizer, unless: Tensor | None) -> Iterator[None]:
    """Hand an optimizer the flag under the name by which torch's gradient scaler does it."""
    if unless is None:
        yield
        return
    part.found_inf = unless.float()  # type: ignore[attr-defined]  # torch declares it nowhere
    try:
        yield
    finally:
        del part.found_inf  # type: ignore[attr-defined]


def _check_shapes(name: str, part: torch.optim.Optimizer, state: Mapping[int, Any]) -> None:
    weights = [weight for group in part.param_groups for weight in group["params"]]
    for index, values in state.items():
        shapes = {v.shape for v in values.values() if isinstance(v, Tensor) and v.ndim > 0}
        if index >= len(weights) or shapes - {weights[index].shape}:
            raise ValueError(f"the state of {name} is of weights of another shape")


def build(
    model: GPT,
    training: TrainingSettings,
    device: torch.device,
    precision: str = "off",
    *,
    embedding_ratio: float = 1.0,
) -> Optimizers:
    """Make the optimizers of a model; norms and the embedding have no weight decay.

    One learning rate serves all groups: on WikiText-2 an embedding that began at random learned
    worse at a third of it, and no better at three times it.

    Args:
        embedding_ratio: the embedding's learning rate as a share of the others'; one that began
            from co-occurrences needs less.
        precision: of the training, "off", "fp16" or "bf16": a CPU orthogonalises in bf16 only
            when it trains in bf16, for one that is slow at it takes four times as long.
    """
    rate, decay = training.learning_rate, training.weight_decay
    matrices = [weight for weight in model.blocks.parameters() if weight.ndim == 2]
    gains = [weight for weight in model.parameters() if weight.ndim == 1]
    rest = [_group(gains, rate), _group([model.embedding.weight], rate * embedding_ratio)]
    if training.optimizer == "adamw":
        return Optimizers({"adamw": _adamw([*rest, _group(matrices, rate, decay)], device)}, rate)
    dtype = _orthogonalisation_dtype(device, precision)
    muon = Muon(matrices, rate=rate, weight_decay=decay, dtype=dtype)
    return Optimizers({"muon": muon, "adamw": _adamw(rest, device)}, rate)


def _group(weights: Sequence[Tensor], rate: float, decay: float = 0.0) -> dict[str, Any]:
    return {"params": weights, "lr": rate, "weight_decay": decay}


def _adamw(groups: list[dict[str, Any]], device: torch.device) -> torch.optim.AdamW:
    fused = device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, betas=ADAMW_BETAS, eps=1e-8, fused=fused)


def _orthogonalisation_dtype(device: torch.device, precision: str) -> torch.dtype:
    if precision == "bf16":
        return torch.bfloat16
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if on_gpu else torch.float32


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are orthogonalised (Jordan et al., 2024), for 2-D weights.

    The size of an update matches AdamW's, so that one learning rate and one weight decay serve
    both (Moonshot, arXiv 2502.16982). Equal to ``torch.optim.Muon`` with
    ``adjust_lr_fn="match_rms_adamw"`` but for two things: matrices of one shape go through the
    iteration together, and its number type can be chosen.

    Like torch's fused optimizers it does nothing where ``found_inf``, a tensor () that a gradient
    scaler sets, is 1.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        rate: float,
        weight_decay: float = 0.0,
        momentum: float = MUON_MOMENTUM,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._dtype = dtype
        super().__init__(weights, {"lr": rate, "weight_decay": weight_decay, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move the weights that have a gradient."""
        loss = None if closure is None else closure()
        gate = _Gate(None if self.found_inf is None else self.found_inf > 0)
        with torch.no_grad():
            for group in self.param_groups:
                for weights in _by_shape(group["params"]):
                    self._step_together(group, weights, gate)
        return loss

    def _step_together(self, group: dict[str, Any], weights: list[Tensor], gate: _Gate) -> None:
        updates = torch.stack([_wide(self._update(w, group["momentum"], gate)) for w in weights])
        orthogonal = gate.zeroed(orthogonalise(updates.to(self._dtype)))
        size = group["lr"] * _RMS_OF_ADAMW * math.sqrt(max(updates.shape[1:]))
        kept = gate.number(1.0 - group["lr"] * group["weight_decay"], shut=1.0)
        for weight, update in zip(weights, orthogonal, strict=True):
            weight.mul_(kept)
            weight.add_(update if weight.shape == update.shape else update.T, alpha=-size)

    def _update(self, weight: Tensor, momentum: float, gate: _Gate) -> Tensor:
        """Add the gradient to the momentum and return Nesterov's look ahead."""
        assert weight.grad is not None
        gradient, state = gate.zeroed(weight.grad), self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average: Tensor = state["momentum_buffer"]
        average.lerp_(gradient, gate.number(1.0 - momentum, shut=0.0))
        return gradient.lerp(average, momentum)


@dataclass(frozen=True)
class _Gate:
    """Lets a step through, or not: as ``shut``, a tensor () bool, says on its own device."""

    shut: Tensor | None

    def zeroed(self, x: Tensor) -> Tensor:
        """Return ``x``, or zeros where the gate is shut, whatever ``x`` holds."""
        return x if self.shut is None else x.masked_fill(self.shut, 0.0)

    def number(self, through: float, shut: float) -> Any:
        """Return ``through``, or ``shut`` where the gate is shut."""
        return through if self.shut is None else torch.where(self.shut, shut, through)


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _by_shape(weights: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Yield the weights that have a gradient, those of one shape or its transpose together."""
    groups: dict[tuple[int, ...], list[Tensor]] = {}
    for weight in weights:
        if weight.grad is not None:
            groups.setdefault(tuple(sorted(weight.shape)), []).append(weight)
    yield from groups.values()


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring the singular values of wide matrices (N, rows, columns) near 1.

    Five steps of the quintic Newton-Schulz iteration of Jordan et al. (2024), which leaves them
    between about 0.7 and 1.2: https://kellerjordan.github.io/posts/muon
    """
    a, b, c = _NEWTON_SCHULZ
    x: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x
