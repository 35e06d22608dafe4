"""Figures that come late from the device: the same points, only later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.engine.bench import Bench, model_of, same
from trainer.engine import setup
from trainer.engine.model import GPT
from trainer.engine.optimizer import Muon
from trainer.engine.readback import Readback, delay_steps


def figures(value: float) -> torch.Tensor:
    return torch.tensor([value, -value])


def test_only_a_gpu_is_read_late() -> None:
    assert delay_steps(torch.device("cpu")) == 0
    assert delay_steps(torch.device("cuda:1")) == 1


def test_without_a_delay_figures_are_there_at_once() -> None:
    readback = Readback[str](0)
    assert list(readback.add("one", figures(1))) == [("one", [1.0, -1.0])]
    assert list(readback.drain()) == []


def test_with_a_delay_figures_come_one_step_later_and_in_order() -> None:
    readback = Readback[str](1)
    assert list(readback.add("one", figures(1))) == []
    assert list(readback.add("two", figures(2))) == [("one", [1.0, -1.0])]
    assert list(readback.drain()) == [("two", [2.0, -2.0])]
    readback.add("three", figures(3))
    readback.forget()
    assert list(readback.drain()) == []


def test_a_gpu_is_not_waited_for_before_its_figures_are_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class OnGpu:
        device = torch.device("cuda:0")

    class Landing:
        def copy_(self, source: OnGpu, non_blocking: bool) -> None:
            done.append(f"copy, waiting {not non_blocking}")

        def tolist(self) -> list[float]:
            done.append("look")
            return [1.0, 2.0]

    class Event:
        def __init__(self, device: torch.device) -> None:
            assert device == OnGpu.device

        def record(self) -> None:
            done.append("mark")

        def synchronize(self) -> None:
            done.append("wait for the mark")

    def empty_like(like: OnGpu, device: str, pin_memory: bool) -> Landing:
        assert (device, pin_memory) == ("cpu", True)
        return Landing()

    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(torch, "empty_like", empty_like)
    readback = Readback[str](1)
    on_gpu: Any = OnGpu()
    assert list(readback.add("one", on_gpu)) == []
    assert done == ["copy, waiting False", "mark"]
    assert list(readback.drain()) == [("one", [1.0, 2.0])]
    assert done[2:] == ["wait for the mark", "look"]


# ---------------------------------------------------------------------- a run


@pytest.fixture
def spoil_step_3(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the third loss that is computed from now on infinite."""
    honest = GPT.loss

    def install() -> None:
        calls: list[bool] = []

        def loss(self: GPT, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            calls.append(True)
            return honest(self, inputs, targets) * (float("inf") if len(calls) == 3 else 1.0)

        monkeypatch.setattr(GPT, "loss", loss)

    return install


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_late_figures_make_the_same_run(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    spoil_step_3: Callable[[], None],
    optimizer: str,
) -> None:
    settings = (
        "model.dropout=0.2",
        "evaluation.every_steps=5",
        "checkpoint.every_steps=4",
        f"training.optimizer={optimizer}",
    )
    spoil_step_3()
    at_once = bench.run(*settings)
    monkeypatch.setattr(setup, "delay_steps", lambda device: 1)
    gated = watch_gates(monkeypatch)
    spoil_step_3()
    late = bench.run(*settings)
    assert bench.points(late) == bench.points(at_once)
    assert [point[2] is None for point in bench.points(late)].index(True) == 2
    assert same(model_of(late), model_of(at_once))
    for kind in ("skipped", "evaluated", "saved"):
        told = [(e["step"], e["message"]) for e in bench.events(late, kind)]
        assert told == [(e["step"], e["message"]) for e in bench.events(at_once, kind)]
    assert gated == ([0.0, 0.0, 1.0] + [0.0] * 9 if optimizer == "muon" else [])

    spoil_step_3()
    parts = bench.run(*settings, stop_at=6)
    bench.train(parts, source="latest")
    assert bench.points(parts) == bench.points(at_once)
    assert same(model_of(parts), model_of(at_once))


def watch_gates(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that fills with the flag that each step of Muon finds."""
    gated: list[float] = []
    honest = Muon.step

    def step(self: Muon) -> None:
        assert self.found_inf is not None
        gated.append(self.found_inf.item())
        honest(self)

    monkeypatch.setattr(Muon, "step", step)
    return gated
