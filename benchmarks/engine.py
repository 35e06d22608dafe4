"""How fast the engine trains, scores and writes, beside the machine's matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from benchmarks.measuring import Figure, seconds
from trainer.config import Config, ModelShape, model_shape
from trainer.engine import device, optimizer
from trainer.engine.evaluation import evaluate
from trainer.engine.model import GPT

VOCAB_SIZE, BATCH_SIZE, SEQ_LENGTH = 8192, 16, 256
WRITTEN_TOKENS = 200


def measure(repeats: int = 5) -> list[Figure]:
    """Time the tiny preset on random tokens: their values do not change the speed."""
    place = torch.device(device.choose("auto", False).device)
    precision, _ = device.choose_precision("auto", place)
    shape = model_shape(Config().model)
    return [
        _matrix_products(place, repeats),
        _training(place, precision, shape, repeats, compiled=False),
        _training(place, precision, shape, repeats, compiled=True),
        _scoring(place, precision, shape, repeats),
        _writing(place, precision, shape, repeats),
    ]


def _matrix_products(place: torch.device, repeats: int) -> Figure:
    a = torch.randn(1024, 1024, device=place)
    taken = seconds(lambda: a @ a, repeats * 10, warm_ups=3)
    return Figure.of(
        "torch.matmul, 1024 x 1024, fp32", [2 * 1024**3 / s / 1e9 for s in taken], "GFLOP/s"
    )


def _training(
    place: torch.device, precision: str, shape: ModelShape, repeats: int, *, compiled: bool
) -> Figure:
    torch.manual_seed(0)
    model = GPT(shape, VOCAB_SIZE, SEQ_LENGTH).to(place)
    optimizers = optimizer.build(model, Config().training, place)
    loss = torch.compile(model.loss) if compiled else model.loss
    tokens = torch.randint(VOCAB_SIZE, (BATCH_SIZE, SEQ_LENGTH + 1), device=place)

    def step() -> None:
        with device.autocast(place, precision):
            value = loss(tokens[:, :-1], tokens[:, 1:])
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step()
        optimizers.zero_grad()
        value.item()

    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    taken = seconds(step, repeats, warm_ups=2)
    name = f"training, tiny preset, batch {BATCH_SIZE} x {SEQ_LENGTH}, {precision}"
    how = f"compiled (first step {first:.0f} s)" if compiled else "eager"
    return Figure.of(f"{name}, {how}", [BATCH_SIZE * SEQ_LENGTH / s for s in taken], "tok/s")


def _scoring(place: torch.device, precision: str, shape: ModelShape, repeats: int) -> Figure:
    model = GPT(shape, VOCAB_SIZE, SEQ_LENGTH).to(place)
    tokens = torch.randint(VOCAB_SIZE, (20_000,)).to(torch.uint16).numpy()

    def score() -> None:
        evaluate(
            model,
            tokens,
            seq_length=SEQ_LENGTH,
            stride=SEQ_LENGTH // 2,
            words=1,
            byte_count=1,
            batch_size=32,
            device=place,
            autocast=lambda: device.autocast(place, precision),
        )

    taken = seconds(score, repeats)
    return Figure.of(
        "evaluation, half a window of context", [len(tokens) / s for s in taken], "tok/s"
    )


def _writing(place: torch.device, precision: str, shape: ModelShape, repeats: int) -> Figure:
    model = GPT(shape, VOCAB_SIZE, SEQ_LENGTH).to(place).eval()
    taken = seconds(_write_greedily(model, place, precision), repeats)
    return Figure.of(
        "generation, one stream, with cache", [WRITTEN_TOKENS / s for s in taken], "tok/s"
    )


def _write_greedily(model: GPT, place: torch.device, precision: str) -> Callable[[], None]:
    def write() -> None:
        cache = model.new_cache()
        token = torch.zeros((1, 1), dtype=torch.long, device=place)
        with torch.inference_mode(), device.autocast(place, precision):
            for _ in range(WRITTEN_TOKENS):
                token = model.next_token_logits(token, cache).argmax(-1, keepdim=True)

    return write
