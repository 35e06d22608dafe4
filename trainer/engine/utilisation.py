"""How much of the machine a run uses: its arithmetic against the machine's own matrix products.

The share is the model FLOPs utilisation of PaLM (Chowdhery et al., 2022, arXiv 2204.02311,
appendix B), with two differences. The peak is measured on this machine, not read from a data
sheet; and attention is counted as it is computed here, causally: each position is compared with
those up to itself, (T + 1) / 2 on average, where PaLM counts all T.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

PROBE_SECONDS = 0.25
_LEAST_ROUNDS = 3
_SIZES = {"cpu": 1024, "cuda": 8192}
_DTYPES = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_FORMATS = {"off": "fp32", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class MatmulPeak:
    """The fastest matrix product measured on the device of a run, in its number format."""

    flops_per_second: float
    precision: str

    def __str__(self) -> str:
        shown = (
            f"{self.flops_per_second / 1e12:,.3g} TFLOP/s"
            if self.flops_per_second >= 1e12
            else f"{self.flops_per_second / 1e9:,.0f} GFLOP/s"
        )
        return f"Matrix products: {shown} in {_FORMATS[self.precision]} here."


def measure_peak(device: torch.device, precision: str) -> MatmulPeak:
    """Multiply square matrices for a moment and keep the best time: others share the machine.

    On a GPU fp32 products run as the training's do, in TF32 where that is allowed.
    """
    size = _SIZES.get(device.type, 1024)
    # Not constant: a GPU that multiplies ones draws less power and clocks higher.
    a, b = (torch.randn(size, size, device=device, dtype=_DTYPES[precision]) for _ in range(2))
    out = torch.empty_like(a)

    def multiply() -> None:
        torch.matmul(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = best_seconds(multiply, PROBE_SECONDS)
    peak = MatmulPeak(2.0 * size**3 / seconds, precision)
    if device.type == "cuda":
        del a, b, out
        torch.cuda.empty_cache()
    return peak


def best_seconds(
    action: Callable[[], None],
    budget_seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Repeat an action for a while, three times at least, and return its shortest time."""
    began = before = clock()
    best, rounds = float("inf"), 0
    while rounds < _LEAST_ROUNDS or before - began < budget_seconds:
        action()
        after = clock()
        best, before, rounds = min(best, after - before), after, rounds + 1
    return best


def utilisation(
    tokens_per_second: float | None, flops_per_token: float, peak: MatmulPeak | None
) -> float | None:
    """Return the share of the peak that training reaches, or None while it is not known."""
    if tokens_per_second is None or peak is None:
        return None
    return tokens_per_second * flops_per_token / peak.flops_per_second


def in_words(share: float | None) -> str:
    """Write a share for the end of a log line, or nothing when it is not known."""
    return "" if share is None else f"  {100 * share:.0f} % of peak"
