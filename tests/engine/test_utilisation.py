"""Floating-point operations counted by hand, and the share of a measured peak."""

from __future__ import annotations

import pytest
import torch

from trainer.config import ModelShape
from trainer.engine.model import GPT
from trainer.engine.utilisation import (
    MatmulPeak,
    best_seconds,
    in_words,
    measure_peak,
    utilisation,
)
from trainer.foresight.workload import flops_per_token

SHAPE = ModelShape(layers=2, width=8, heads=2, kv_heads=1, hidden=16)


def test_the_operations_of_a_token_are_those_of_its_products() -> None:
    attention = 8 * 8 + 2 * (8 * 4) + 8 * 8  # query, key and value, output
    swiglu = 3 * 8 * 16
    head = 10 * 8
    weights = 2 * (attention + swiglu) + head
    compared = (1 + 2 + 3 + 4 + 5) / 5  # positions that each of five tokens looks at
    products_of_attention = 2 * (2 * 8 * compared) * 2
    assert flops_per_token(SHAPE, 10, 5) == 3 * (2 * weights + products_of_attention)


def test_the_weights_counted_are_all_matrices_of_the_model() -> None:
    model = GPT(SHAPE, vocab_size=10, context=5)
    matrices = sum(weight.numel() for weight in model.parameters() if weight.ndim == 2)
    of_attention = 12 * SHAPE.layers * SHAPE.width * (5 + 1) / 2
    assert flops_per_token(SHAPE, 10, 5) == 6 * matrices + of_attention


def test_the_share_of_the_peak() -> None:
    peak = MatmulPeak(1e9, "off")
    assert utilisation(1000.0, 5e5, peak) == 0.5
    assert utilisation(None, 5e5, peak) is None
    assert utilisation(1000.0, 5e5, None) is None


@pytest.mark.parametrize(
    ("flops", "precision", "words"),
    [
        (310.4e9, "off", "Matrix products: 310 GFLOP/s in fp32 here."),
        (612.3e12, "bf16", "Matrix products: 612 TFLOP/s in bf16 here."),
        (1.5e12, "fp16", "Matrix products: 1.5 TFLOP/s in fp16 here."),
    ],
)
def test_the_peak_in_words(flops: float, precision: str, words: str) -> None:
    assert str(MatmulPeak(flops, precision)) == words


def test_the_share_in_a_log_line() -> None:
    assert in_words(0.614) == "  61 % of peak"
    assert in_words(None) == ""


def test_the_best_of_several_times_counts() -> None:
    ticks = iter([0.0, 5.0, 7.0, 11.0, 12.0])
    assert best_seconds(lambda: None, 10.0, clock=lambda: next(ticks)) == 2.0


def test_three_rounds_are_done_however_long_they_take() -> None:
    ticks = iter([0.0, 50.0, 90.0, 120.0])
    assert best_seconds(lambda: None, 10.0, clock=lambda: next(ticks)) == 30.0


def test_the_peak_is_measured_in_the_precision_of_the_run() -> None:
    peak = measure_peak(torch.device("cpu"), "off")
    assert peak.precision == "off"
    assert peak.flops_per_second > 0
