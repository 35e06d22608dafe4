"""Scoring a text: which token is scored by which window, and the figures made of the sum."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.config import Config, ModelShape, build, resolved
from trainer.config import Layer as ConfigLayer
from trainer.engine.evaluation import (
    Evaluation,
    Window,
    bits_per_byte,
    evaluate,
    mean_loss,
    stride,
    windows,
    word_perplexity,
)
from trainer.engine.model import GPT
from trainer.errors import TrainingError


class ToyModel:
    """Its loss for a token is the token's id in thousandths; it notes what it was asked."""

    training = True

    def __init__(self) -> None:
        self.scored: list[int] = []
        self.contexts: list[int] = []

    def train(self, mode: bool = True) -> None:
        self.training = mode

    def token_losses(self, tokens: Tensor, targets: Tensor, scored: int | None = None) -> Tensor:
        assert not self.training
        assert scored is not None
        assert torch.equal(tokens[:, 1:], targets[:, :-1])
        wanted = targets[:, -scored:]
        self.scored += wanted.flatten().tolist()
        first = tokens.shape[1] - scored
        self.contexts += [first + place + 1 for _ in wanted for place in range(scored)]
        return wanted / 1000


def run(model: Any, token_count: int, **changes: Any) -> Evaluation | None:
    arguments: dict[str, Any] = {
        "seq_length": 4,
        "stride": 2,
        "words": 5,
        "byte_count": 20,
        "batch_size": 3,
        "device": torch.device("cpu"),
        "autocast": contextlib.nullcontext,
    }
    return evaluate(model, np.arange(token_count, dtype=np.uint16), **(arguments | changes))


# ---------------------------------------------------------------------- windows


def test_the_first_window_scores_all_and_later_ones_their_last_tokens() -> None:
    assert list(windows(10, 4, 2)) == [
        Window(0, 4, 4),  # predicts tokens 1 to 4
        Window(2, 4, 2),  # 5, 6
        Window(4, 4, 2),  # 7, 8
        Window(5, 4, 1),  # 9
    ]


def test_a_text_shorter_than_a_window_is_one_window() -> None:
    assert list(windows(4, 8, 4)) == [Window(0, 3, 3)]


@pytest.mark.parametrize("token_count", [2, 5, 6, 7, 23])
@pytest.mark.parametrize(("seq_length", "stride"), [(4, 1), (4, 2), (4, 4), (5, 3)])
def test_every_token_but_the_first_is_scored_once(
    token_count: int, seq_length: int, stride: int
) -> None:
    model = ToyModel()
    run(model, token_count, seq_length=seq_length, stride=stride)
    assert sorted(model.scored) == list(range(1, token_count))


def test_later_tokens_are_scored_with_at_least_the_context_that_the_stride_leaves() -> None:
    model = ToyModel()
    run(model, 50, seq_length=8, stride=2)
    seen = dict(zip(model.scored, model.contexts, strict=True))
    assert [seen[token] for token in range(1, 9)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {seen[token] for token in range(9, 49)} == {7, 8}


def test_the_stride_is_half_the_sequence_unless_it_is_set() -> None:
    assert stride(Config()) == 128
    layer = ConfigLayer("test", {"evaluation.stride": 32})
    assert stride(resolved(build(layer))) == 32


# ---------------------------------------------------------------------- figures


def test_the_figures_of_a_text_worked_out_by_hand() -> None:
    # Tokens 1 to 9 lose 0.001 to 0.009 nats: 0.045 in all.
    result = run(ToyModel(), 10)
    assert result is not None
    assert result.loss == pytest.approx(0.045 / 9)
    assert result.word_perplexity == pytest.approx(math.exp(0.045 / 5))
    assert result.bits_per_byte == pytest.approx(0.045 / math.log(2) / 20)
    assert (result.tokens, result.words, result.byte_count) == (9, 5, 20)
    assert result.seconds >= 0.0


def test_pure_figures() -> None:
    assert mean_loss(30.0, 10) == 3.0
    assert word_perplexity(math.log(50.0) * 7, 7) == pytest.approx(50.0)
    assert bits_per_byte(math.log(2.0) * 12, 8) == pytest.approx(1.5)


def test_a_perplexity_beyond_all_numbers_is_none() -> None:
    assert word_perplexity(710.0, 1) is None


def test_a_loss_that_is_not_a_number_is_refused() -> None:
    class Spoilt(ToyModel):
        def token_losses(
            self, tokens: Tensor, targets: Tensor, scored: int | None = None
        ) -> Tensor:
            return super().token_losses(tokens, targets, scored) * math.nan

    with pytest.raises(TrainingError, match="not a finite number"):
        run(Spoilt(), 10)


def test_a_real_model_is_scored_as_its_loss_says() -> None:
    torch.manual_seed(0)
    model = GPT(ModelShape(2, 32, 4, 4, 48), 64, 16)
    tokens = torch.arange(17)[None]
    result = run(model, 17, seq_length=16, stride=8)
    assert result is not None
    assert result.loss == pytest.approx(model.eval().loss(tokens[:, :-1], tokens[:, 1:]).item())


# ---------------------------------------------------------------------- manners


def test_progress_ends_at_the_whole() -> None:
    told: list[tuple[int, int]] = []
    run(ToyModel(), 24, report=lambda done, total: told.append((done, total)))
    assert told == [(4, 23), (10, 23), (16, 23), (22, 23), (23, 23)]


def test_a_stop_request_ends_it_without_figures() -> None:
    model = ToyModel()
    assert run(model, 24, should_stop=lambda: len(model.scored) >= 10) is None
    assert len(model.scored) == 10
    assert model.training


@pytest.mark.parametrize("training", [True, False])
def test_mode_gradients_and_random_numbers_are_left_as_they_were(training: bool) -> None:
    model = GPT(ModelShape(2, 32, 4, 4, 48), 64, 16, dropout=0.5).train(training)
    before = torch.get_rng_state()
    first, second = run(model, 40, seq_length=16), run(model, 40, seq_length=16)
    assert model.training is training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    assert first is not None
    assert second is not None
    assert first.loss == second.loss


def test_a_text_of_one_token_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="fewer than two tokens"):
        run(ToyModel(), 1)
