"""The network: its sizes, its causality, its cache and its loss."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.config import ModelShape
from trainer.engine import cross_entropy
from trainer.engine.cross_entropy import linear_cross_entropy, token_cross_entropy
from trainer.engine.model import GPT, Dropout, rotary_tables, rotate

SHAPE = ModelShape(layers=2, width=32, heads=4, kv_heads=2, hidden=48)
VOCAB_SIZE, CONTEXT = 61, 16


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(7)
    return GPT(SHAPE, VOCAB_SIZE, CONTEXT).eval()


def some_tokens(*size: int) -> Tensor:
    return torch.randint(VOCAB_SIZE, size, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------------- the network


def test_the_weights_are_as_many_as_the_sizes_promise(model: GPT) -> None:
    assert sum(weight.numel() for weight in model.parameters()) == SHAPE.parameters(VOCAB_SIZE)


def test_rotary_tables_are_not_saved(model: GPT) -> None:
    assert not [name for name in model.state_dict() if "sines" in name]


def test_a_fresh_model_expects_every_token_alike(model: GPT) -> None:
    tokens = some_tokens(4, CONTEXT)
    loss = model.loss(tokens, tokens).item()
    assert loss == pytest.approx(math.log(VOCAB_SIZE), abs=0.1)


def test_a_later_token_does_not_change_what_came_before(model: GPT) -> None:
    tokens = some_tokens(1, 8)
    changed = tokens.clone()
    changed[0, 5] = (changed[0, 5] + 1) % VOCAB_SIZE
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.equal(before[:, 5:], after[:, 5:])


def test_too_many_tokens_are_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="17 tokens do not fit a context of 16"):
        model(some_tokens(1, CONTEXT + 1))


def test_a_pair_turns_by_the_angle_of_its_position() -> None:
    cosines, sines = rotary_tables(3, 2)
    turned = rotate(torch.tensor([[[[1.0, 0.0]] * 3]]), cosines, sines)
    expected = [[math.cos(position), math.sin(position)] for position in range(3)]
    torch.testing.assert_close(turned[0, 0], torch.tensor(expected))


def test_attention_sees_distances_and_not_positions() -> None:
    cosines, sines = rotary_tables(8, 4)
    query, key = torch.randn(4), torch.randn(4)
    turned_queries = rotate(query.expand(1, 1, 8, 4), cosines, sines)[0, 0]
    turned_keys = rotate(key.expand(1, 1, 8, 4), cosines, sines)[0, 0]
    products = turned_queries @ turned_keys.T
    torch.testing.assert_close(products[2, 0], products[7, 5])


def test_dropout_acts_while_training_only() -> None:
    model = GPT(SHAPE, VOCAB_SIZE, CONTEXT, dropout=0.5)
    tokens = some_tokens(1, 8)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


# ---------------------------------------------------------------------- the cache


def test_cached_and_uncached_logits_agree(model: GPT) -> None:
    tokens = some_tokens(1, CONTEXT)
    whole = model(tokens)[0]
    cache = model.new_cache()
    parts = (tokens[:, :5], tokens[:, 5:6], tokens[:, 6:10], tokens[:, 10:16])
    ends = (4, 5, 9, 15)
    for part, end in zip(parts, ends, strict=True):
        logits = model.next_token_logits(part, cache)[0]
        torch.testing.assert_close(logits, whole[end])
    assert cache.length == CONTEXT


# ---------------------------------------------------------------------- the loss


def test_the_loss_is_the_mean_of_the_token_losses(model: GPT) -> None:
    tokens, targets = some_tokens(3, 8), some_tokens(3, 8).flip(1)
    expected = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction="none")
    torch.testing.assert_close(model.token_losses(tokens, targets).flatten(), expected)
    torch.testing.assert_close(model.loss(tokens, targets), expected.mean())


def test_only_the_last_positions_are_scored_when_asked_so(model: GPT) -> None:
    tokens = some_tokens(3, 8)
    whole = model.token_losses(tokens, tokens)
    torch.testing.assert_close(model.token_losses(tokens, tokens, scored=3), whole[:, 5:])


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_chunks_make_no_difference_to_loss_and_gradients(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cross_entropy._CHUNK_LOGITS, "cpu", rows * 13)
    features = torch.randn(10, 6, requires_grad=True)
    weight = torch.randn(13, 6, requires_grad=True)
    targets = torch.arange(10)
    plain = F.cross_entropy(features @ weight.T, targets)
    expected = torch.autograd.grad(3.0 * plain, (features, weight))
    ours = linear_cross_entropy(features, weight, targets)
    torch.testing.assert_close(ours, plain)
    torch.testing.assert_close(torch.autograd.grad(3.0 * ours, (features, weight)), expected)
    torch.testing.assert_close(token_cross_entropy(features, weight, targets).mean(), plain)


def test_the_loss_is_exact_under_bf16_autocast() -> None:
    features = torch.randn(64, 6, requires_grad=True)
    weight = torch.randn(13, 6, requires_grad=True)
    targets = torch.arange(64) % 13
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(features, weight, targets)
    torch.autograd.backward(loss)
    logits = (features.bfloat16() @ weight.bfloat16().T).float()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets))
    assert features.grad is not None
    assert weight.grad is not None
    assert (features.grad.dtype, weight.grad.dtype) == (torch.float32, torch.float32)


def test_a_loss_without_gradients_is_the_same(model: GPT) -> None:
    tokens = some_tokens(2, 8)
    with torch.no_grad():
        quiet = model.loss(tokens, tokens)
    torch.testing.assert_close(quiet, model.loss(tokens, tokens).detach())


def test_the_loss_compiles_as_one_graph(model: GPT) -> None:
    compiled = torch.compile(model.loss, backend="aot_eager", fullgraph=True)
    tokens = some_tokens(2, 8)
    expected = torch.autograd.grad(model.loss(tokens, tokens), list(model.parameters()))
    found = torch.autograd.grad(compiled(tokens, tokens), list(model.parameters()))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(1)
    dropped = Dropout(share)(torch.ones(400, 501))
    assert float((dropped == 0).float().mean()) == pytest.approx(share, abs=0.005)
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)
    # What stays is scaled alike.
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / (1 - share), rel=1e-4)]


def test_dropout_is_of_the_seed_and_only_of_training() -> None:
    layer, x = Dropout(0.3), torch.ones(3, 7)
    masks = []
    for _ in range(2):
        torch.manual_seed(5)
        masks.append(layer(x))
    assert torch.equal(*masks)
    assert torch.equal(layer.eval()(x), x)


def test_a_dropped_value_gets_no_gradient() -> None:
    x = torch.ones(10, 10, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
