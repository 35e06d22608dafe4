"""The optimizers: which weight goes to which, and steps compared with torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from trainer.config import ModelShape, TrainingSettings
from trainer.engine.model import GPT
from trainer.engine.optimizer import Muon, Optimizers, build, orthogonalise

SHAPE = ModelShape(layers=2, width=32, heads=4, kv_heads=2, hidden=48)
CPU = torch.device("cpu")


def a_model() -> GPT:
    torch.manual_seed(3)
    return GPT(SHAPE, 50, 8)


def train(model: GPT, optimizers: Optimizers, steps: int) -> list[float]:
    tokens = torch.arange(32).view(4, 8)
    losses = []
    for _ in range(steps):
        loss = model.loss(tokens, tokens + 1)
        torch.autograd.backward(loss)
        optimizers.step()
        optimizers.zero_grad()
        losses.append(loss.item())
    return losses


def weights_of(part: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in part.param_groups for weight in group["params"]]


def test_every_weight_has_exactly_one_optimizer() -> None:
    model = a_model()
    for name in ("muon", "adamw"):
        settings = TrainingSettings(optimizer="muon" if name == "muon" else "adamw")
        moved = [id(w) for part in build(model, settings, CPU).parts for w in weights_of(part)]
        assert sorted(moved) == sorted(id(weight) for weight in model.parameters())


def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else() -> None:
    model = a_model()
    muon, adamw = build(model, TrainingSettings(), CPU).parts
    assert len(weights_of(muon)) == 2 * 7
    assert all(weight is not model.embedding.weight for weight in weights_of(muon))
    assert any(weight is model.embedding.weight for weight in weights_of(adamw))


def test_only_matrices_of_the_blocks_have_weight_decay() -> None:
    for optimizer in ("muon", "adamw"):
        settings = TrainingSettings(
            optimizer="muon" if optimizer == "muon" else "adamw", weight_decay=0.3
        )
        for part in build(a_model(), settings, CPU).parts:
            for group in part.param_groups:
                matrices = [w for w in group["params"] if w.ndim == 2 and w.shape != (50, 32)]
                assert group["weight_decay"] == (0.3 if matrices else 0.0)


@pytest.mark.parametrize("size", [(24, 24), (16, 40), (40, 16)])
def test_a_muon_step_is_that_of_torch(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(size), torch.randn(3, *size)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    other: torch.optim.Optimizer = torch.optim.Muon(
        [theirs], lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    muon = Muon([ours], rate=0.01, weight_decay=0.1, dtype=torch.bfloat16)
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        other.step()
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)


def test_matrices_taken_together_move_as_they_would_alone() -> None:
    torch.manual_seed(0)
    together = [torch.nn.Parameter(torch.randn(s)) for s in ((6, 9), (9, 6), (6, 9), (5, 5))]
    alone = copy.deepcopy(together)
    for one, other in zip(together, alone, strict=True):
        one.grad = torch.randn_like(one)
        other.grad = one.grad.clone()
    Muon(together, rate=0.1, dtype=torch.float32).step()
    for other in alone:
        Muon([other], rate=0.1, dtype=torch.float32).step()
    torch.testing.assert_close(together, alone)


def test_orthogonalising_brings_singular_values_near_one() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 16, 32)))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.3


def test_one_fraction_scales_every_rate() -> None:
    optimizers = build(a_model(), TrainingSettings(learning_rate=0.01), CPU)
    groups = [group for part in optimizers.parts for group in part.param_groups]
    highest = [group["lr"] for group in groups]
    optimizers.set_learning_rate(0.25)
    assert optimizers.learning_rate == 0.0025
    assert [group["lr"] for group in groups] == [rate * 0.25 for rate in highest]
    optimizers.set_learning_rate(1.0)
    assert [group["lr"] for group in groups] == highest


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_the_loss_falls(optimizer: str) -> None:
    settings = TrainingSettings(optimizer="muon" if optimizer == "muon" else "adamw")
    model = a_model()
    losses = train(model, build(model, settings, CPU), 20)
    assert losses[-1] < losses[0] - 1.0


def test_training_goes_on_exactly_from_saved_momenta() -> None:
    model = a_model()
    optimizers = build(model, TrainingSettings(), CPU)
    train(model, optimizers, 3)
    weights = copy.deepcopy(model.state_dict())
    momenta = copy.deepcopy(optimizers.state_dict())
    expected = train(model, optimizers, 3)

    fresh = a_model()
    again = build(fresh, TrainingSettings(), CPU)
    fresh.load_state_dict(weights)
    again.load_state_dict(momenta)
    assert train(fresh, again, 3) == expected

    forgetful = a_model()
    forgetful.load_state_dict(weights)
    assert train(forgetful, build(forgetful, TrainingSettings(), CPU), 3) != expected


def test_rates_come_from_the_settings_and_not_from_what_was_saved() -> None:
    model = a_model()
    optimizers = build(model, TrainingSettings(learning_rate=0.01), CPU)
    train(model, optimizers, 1)
    changed = build(model, TrainingSettings(learning_rate=0.02, weight_decay=0.5), CPU)
    changed.load_state_dict(optimizers.state_dict())
    (group,) = changed.parts[0].param_groups
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.5)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_flag_on_the_device_decides_whether_a_step_counts(optimizer: str) -> None:
    settings = TrainingSettings(
        optimizer="muon" if optimizer == "muon" else "adamw", weight_decay=0.3
    )
    plain, flagged = a_model(), a_model()
    freely, gated = build(plain, settings, CPU), build(flagged, settings, CPU)
    train(plain, freely, 2)
    for spoilt in (False, True, False):
        tokens = torch.arange(32).view(4, 8)
        torch.autograd.backward(flagged.loss(tokens, tokens + 1))
        if spoilt:
            for weight in flagged.parameters():
                weight.grad = torch.full_like(weight, float("nan"))
        gated.step(unless=torch.tensor(spoilt))
        gated.zero_grad()
    torch.testing.assert_close(flagged.state_dict(), plain.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(gated.state_dict(), freely.state_dict(), rtol=0, atol=0)


def test_momenta_of_another_optimizer_are_refused() -> None:
    model = a_model()
    saved = build(model, TrainingSettings(optimizer="adamw"), CPU).state_dict()
    with pytest.raises(
        ValueError, match="saved are adamw, those of this configuration adamw, muon"
    ):
        build(model, TrainingSettings(), CPU).load_state_dict(saved)


def test_momenta_of_another_size_are_refused() -> None:
    wide = GPT(ModelShape(2, 64, 4, 2, 48), 50, 8)
    optimizers = build(wide, TrainingSettings(), CPU)
    train(wide, optimizers, 1)
    with pytest.raises(ValueError, match="weights of another shape"):
        build(a_model(), TrainingSettings(), CPU).load_state_dict(optimizers.state_dict())
