"""When the training step is compiled, and what happens when that fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trainer.config import Config, ModelShape, assignments, build
from trainer.engine.compilation import Compiled, expected_seconds, should_compile
from trainer.engine.model import GPT

CPU = torch.device("cpu")
FACTS: dict[str, Any] = {"seconds": 1000.0, "device_type": "cpu", "has_compiler": True}


def small_model() -> GPT:
    return GPT(ModelShape(1, 16, 2, 2, 32), 64, 8)


@pytest.mark.parametrize(
    ("setting", "facts", "wanted", "why"),
    [
        ("off", {}, False, "is off"),
        ("on", {"seconds": 0.0}, True, "is on"),
        ("auto", {}, True, "long enough"),
        ("auto", {"seconds": 10.0}, False, "too short"),
        ("auto", {"has_compiler": False}, False, "C++ compiler"),
        ("auto", {"device_type": "cuda", "has_compiler": False}, True, "long enough"),
        ("auto", {"before": True, "seconds": 0.0}, True, "as before"),
        ("auto", {"before": False}, False, "as before"),
        ("auto", {"before": True, "has_compiler": False}, False, "C++ compiler"),
    ],
)
def test_the_decision_and_its_reason(
    setting: str, facts: dict[str, Any], wanted: bool, why: str
) -> None:
    decided, reason = should_compile(setting, **(FACTS | facts))
    assert decided is wanted
    assert why in reason


def test_the_expected_time_by_hand() -> None:
    config = build(assignments(["training.batch_size=2", "training.seq_length=8"]))
    weights = sum(weight.numel() for weight in small_model().parameters())
    assert expected_seconds(config, small_model(), 10) == 6.0 * weights * 160 / 1e11


def test_a_step_that_cannot_be_compiled_is_done_eagerly(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: object, **__: object) -> Any:
        def loss(*_: object) -> torch.Tensor:
            raise torch._dynamo.exc.InternalTorchDynamoError("no such compiler")

        return loss

    monkeypatch.setattr(torch, "compile", failing)
    model = small_model()
    config = build(assignments(["training.compile=on"]))
    compiled = Compiled.decide(config, model, 10, CPU)
    assert compiled.active
    tokens = torch.zeros((1, 8), dtype=torch.long)
    assert torch.equal(compiled.loss(tokens, tokens), model.loss(tokens, tokens))
    assert not compiled.active
    assert "no such compiler" in compiled.reason


def test_a_short_run_is_not_compiled_by_itself() -> None:
    model = small_model()
    compiled = Compiled.decide(Config(), model, 1, CPU)
    assert not compiled.active
    assert compiled.loss == model.loss
