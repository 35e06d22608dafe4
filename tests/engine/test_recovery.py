"""Numbers that are not finite: a step is skipped, a run goes back once, and then it tells."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, cast

import pytest
import torch

from tests.engine.bench import Bench, model_of, same
from trainer.engine import checkpoint, evaluation, setup
from trainer.engine.model import GPT
from trainer.engine.optimizer import Optimizers
from trainer.errors import NotFiniteError, TrainingError
from trainer.runs import Run

Spoil = Callable[[Container[int]], None]
EVER = range(1, 1000)


def on_these_calls(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]
) -> Spoil:
    """Return what makes the losses that are computed from then on wrong at the calls it names."""
    honest = GPT.loss

    def install(wrong: Container[int]) -> None:
        calls: list[bool] = []

        def loss(self: GPT, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            calls.append(True)
            right = honest(self, inputs, targets)
            return change(right) if len(calls) in wrong else right

        monkeypatch.setattr(GPT, "loss", loss)

    return install


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Make losses NaN."""
    return on_these_calls(monkeypatch, lambda loss: loss * float("nan"))


@pytest.fixture(params=[0, 1], ids=["at once", "late"])
def delay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the figures of a step at once, as from a CPU, or a step later, as from a GPU."""
    monkeypatch.setattr(setup, "delay_steps", lambda device: request.param)


def rates(bench: Bench, run: Run) -> list[float]:
    return [point[4] for point in bench.points(run)]


def steps_of(bench: Bench, run: Run, kind: str) -> list[int]:
    return [event["step"] for event in bench.events(run, kind)]


# ---------------------------------------------------------------------- skip


def test_a_step_whose_loss_is_not_finite_moves_nothing(bench: Bench, spoil: Spoil) -> None:
    spoil({3})
    run = bench.run()
    assert run.status == "completed"
    assert steps_of(bench, run, "skipped") == [3]
    losses = [point[2] for point in bench.points(run)]
    assert losses[2] is None
    assert None not in losses[:2] + losses[3:]
    assert all(torch.isfinite(weight).all() for weight in model_of(run).values())


def test_nine_in_a_row_are_borne_again_and_again(bench: Bench, spoil: Spoil, delay: None) -> None:
    spoil({*range(2, 11), *range(12, 21)})
    run = bench.run("training.max_steps=24")
    assert run.status == "completed"
    assert len(steps_of(bench, run, "skipped")) == 18
    assert bench.events(run, "setback") == []


# ---------------------------------------------------------------------- go back


def test_a_run_goes_back_once_and_learns_more_slowly(
    bench: Bench, spoil: Spoil, delay: None
) -> None:
    settings = ("training.max_steps=30", "checkpoint.every_steps=5", "model.dropout=0.1")
    untroubled = bench.run(*settings)
    spoil(range(13, 24))
    run = bench.run(*settings)
    assert run.status == "completed"
    points, expected = bench.points(run), bench.points(untroubled)
    assert [point[0] for point in points] == list(range(1, 31))
    assert points[:10] == expected[:10]
    assert None not in [point[2] for point in points[12:]]
    planned = rates(bench, untroubled)
    assert rates(bench, run) == planned[:10] + [0.5 * rate for rate in planned[10:]]
    # A checkpoint that nothing but skips had followed is not replaced by the weights they left.
    assert steps_of(bench, run, "saved") == [5, 10, 10, 15, 20, 25, 30]
    (setback,) = bench.events(run, "setback")
    assert (setback["step"], setback["level"]) == (10, "error")
    assert setback["message"] in run.state.warnings
    assert "not finite in 10 steps in a row (up to step 22" in setback["message"]
    assert "went back to latest.pt of step 10" in setback["message"]


def test_a_resume_keeps_the_lower_rate_and_the_story(bench: Bench, spoil: Spoil) -> None:
    settings = ("training.max_steps=30", "checkpoint.every_steps=5", "model.dropout=0.1")
    spoil(range(13, 23))
    whole = bench.run(*settings)
    spoil(range(13, 23))
    parts = bench.run(*settings, stop_at=25)
    bench.train(parts, source="latest")
    assert bench.points(parts) == bench.points(whole)
    assert same(model_of(parts), model_of(whole))
    standing = checkpoint.load(parts.paths.checkpoint("latest"))["standing"]
    assert standing["learning_rate_factor"] == 0.5
    assert "went back" in standing["setback"]


def test_the_second_time_ends_the_run_with_the_whole_story(
    bench: Bench, spoil: Spoil, delay: None
) -> None:
    spoil(range(8, 1000))
    run = bench.new("training.max_steps=40", "checkpoint.every_steps=5")
    with pytest.raises(TrainingError) as raised:
        bench.train(run)
    story = raised.value.message
    assert "up to step 17: loss nan, gradient norm nan" in story
    assert "went back to latest.pt of step 5 and lowered the learning rate" in story
    assert "It happened again." in story
    assert "training.learning_rate" in raised.value.hint
    latest = checkpoint.load(run.paths.checkpoint("latest"))
    assert latest["step"] == 5
    assert latest["standing"]["learning_rate_factor"] == 0.5


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(bench: Bench, spoil: Spoil) -> None:
    spoil(EVER)
    with pytest.raises(TrainingError, match=r"not finite in 10 steps.* no checkpoint from before"):
        bench.run()


def test_the_newest_whole_checkpoint_from_before_the_trouble_is_taken(
    bench: Bench, spoil: Spoil
) -> None:
    run = bench.new("training.max_steps=20", "evaluation.every_steps=4")
    spoil(())
    bench.train(run, stop_at=5)
    latest, best = run.paths.checkpoint("latest"), run.paths.checkpoint("best")
    checkpoint.link(latest, run.paths.checkpoint("epoch-1"))
    spoil(range(4, 14))
    bench.train(run, source="latest", stop_at=10)
    assert [checkpoint.load(path)["step"] for path in (latest, best)] == [10, 8]
    best.write_bytes(b"damaged")
    bench.train(run, source="latest")
    (setback,) = bench.events(run, "setback")
    assert "up to step 18" in setback["message"]
    assert "went back to epoch-1.pt of step 5" in setback["message"]
    assert [point[0] for point in bench.points(run)] == list(range(1, 21))


def test_weights_that_are_not_finite_are_never_saved(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = Optimizers.step, []

    def step(self: Optimizers, unless: torch.Tensor | None = None) -> None:
        honest(self, unless)
        calls.append(1)
        if len(calls) == 9:
            self.parts[-1].param_groups[0]["params"][0].data[0] = float("inf")

    monkeypatch.setattr(Optimizers, "step", step)
    run = bench.run("checkpoint.every_steps=3")
    assert run.status == "completed"
    assert steps_of(bench, run, "saved") == [3, 6, 6, 9, 12]
    (setback,) = bench.events(run, "setback")
    assert "latest.pt was not saved: the weight" in setback["message"]
    assert "went back to latest.pt of step 6" in setback["message"]
    assert len(bench.losses(run)) == 12


def test_an_evaluation_that_is_not_finite_goes_back_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = evaluation.evaluate, []

    def spoilt_once(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise NotFiniteError("The loss on the text is not a finite number.")
        return honest(*arguments, **options)

    monkeypatch.setattr(evaluation, "evaluate", spoilt_once)
    run = bench.run("evaluation.every_steps=4")
    (setback,) = bench.events(run, "setback")
    assert "The loss on the text is not a finite number" in setback["message"]
    assert (setback["step"], run.status) == (4, "completed")
    assert len(bench.losses(run)) == 12


# ---------------------------------------------------------------------- fp16


class Overflow(torch.autograd.Function):
    """Passes a value on, and makes its gradient infinite."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * float("inf")


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> Spoil:
    """Train in fp32 with the scaler of fp16; make gradients infinite under finite losses."""
    honest_scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: honest_scaler(device))

    def overflow(loss: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, Overflow.apply(loss))  # type: ignore[no-untyped-call]

    return on_these_calls(monkeypatch, overflow)


def scale_of(run: Run) -> Any:
    return checkpoint.load(run.paths.checkpoint("latest"))["scaler"]["scale"]


def test_the_search_for_the_scale_of_fp16_is_no_trouble(
    bench: Bench, fp16: Spoil, delay: None
) -> None:
    fp16(range(1, 13))
    run = bench.run("training.max_steps=15")
    assert steps_of(bench, run, "skipped") == list(range(1, 13))
    assert bench.events(run, "setback") == []
    assert scale_of(run) == 2.0**16 / 2**12


def test_a_search_that_finds_no_scale_is_trouble(bench: Bench, fp16: Spoil) -> None:
    fp16(EVER)
    with pytest.raises(TrainingError, match=r"not finite in 10 steps.*up to step 27"):
        bench.run("training.max_steps=40")


def test_a_resumed_run_goes_on_with_the_scale_it_had(bench: Bench, fp16: Spoil) -> None:
    fp16({1, 2, 3})
    whole = bench.run("training.max_steps=8")
    fp16({1, 2, 3})
    parts = bench.run("training.max_steps=8", stop_at=5)
    assert scale_of(parts) == 2.0**13
    bench.train(parts, source="latest")
    assert bench.points(parts) == bench.points(whole)
    assert same(model_of(parts), model_of(whole))
    assert scale_of(parts) == scale_of(whole) == 2.0**13
