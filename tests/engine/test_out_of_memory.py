"""A training that runs out of memory goes on with smaller parts of the same batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tests.engine.bench import Bench, model_of, same
from trainer.engine import checkpoint
from trainer.engine.model import GPT
from trainer.engine.out_of_memory import Shortage, is_out_of_memory, smaller, unless_out_of_memory
from trainer.engine.step import cut, split
from trainer.errors import TrainingError

CPU = torch.device("cpu")
GPU = torch.device("cuda:0")

Limit = Callable[..., list[int]]


def more_than_there_is() -> torch.Tensor:
    return torch.empty(2**50)


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Let the model have room for so many sequences only; return the sizes that were tried."""
    honest = GPT.loss

    def install(room: int, *, from_call: int = 1) -> list[int]:
        tried: list[int] = []

        def loss(self: GPT, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            tried.append(len(inputs))
            if len(inputs) > room and len(tried) >= from_call:
                more_than_there_is()
            return honest(self, inputs, targets)

        monkeypatch.setattr(GPT, "loss", loss)
        return tried

    return install


# ---------------------------------------------------------------------- telling it


def test_what_torch_raises_is_told_from_other_failures() -> None:
    with pytest.raises(RuntimeError) as raised:
        more_than_there_is()
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("not enough memory"))


def test_other_failures_pass_through() -> None:
    assert unless_out_of_memory(lambda: 7) == 7
    assert isinstance(unless_out_of_memory(more_than_there_is), Shortage)
    with pytest.raises(RuntimeError, match="size of tensor"):
        unless_out_of_memory(lambda: torch.zeros(2) + torch.zeros(3))


def test_half_of_a_batch_until_it_is_one() -> None:
    sizes = [13]
    while sizes[-1] > 1:
        sizes.append(smaller(sizes[-1], Shortage("no room"), CPU))
    assert sizes == [13, 7, 4, 2, 1]
    with pytest.raises(TrainingError, match="one sequence at a time: no room") as raised:
        smaller(1, Shortage("no room"), CPU)
    assert all(key in raised.value.hint for key in ("seq_length", "layers", "width", "precision"))


def test_a_gpu_gets_its_unused_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    smaller(4, Shortage("no room"), CPU)
    assert emptied == []
    smaller(4, Shortage("no room"), GPU)
    assert emptied == [True]


def test_parts_are_the_whole_in_its_order() -> None:
    tokens = torch.arange(10).view(5, 2)
    parts = list(split([(tokens, tokens + 1), (tokens + 10, tokens + 11)], 2))
    assert [len(inputs) for inputs, _ in parts] == [2, 2, 1, 2, 2, 1]
    assert torch.equal(torch.cat([x for x, _ in parts]), torch.cat([tokens, tokens + 10]))
    assert all(torch.equal(x + 1, y) for x, y in parts)


def test_sequences_are_cut_in_their_order() -> None:
    tokens = torch.arange(16).view(2, 8)
    inputs, targets = cut((tokens, tokens + 1), 4)
    assert inputs.tolist() == [[n, n + 1] for n in range(0, 16, 2)]
    assert torch.equal(targets, inputs + 1)


# ---------------------------------------------------------------------- a run


@pytest.mark.parametrize(("room", "at_once"), [(3, 2), (1, 1)])
def test_a_run_goes_on_in_smaller_parts_with_the_same_curve(
    bench: Bench, limit: Limit, room: int, at_once: int
) -> None:
    settings = ("training.grad_accum_steps=2", "training.max_steps=6")
    whole = bench.run(*settings)
    # The second half of step 3 finds no room: what its first half has added must not count twice.
    tried = limit(room, from_call=6)
    parts = bench.run(*settings)
    assert tried[:5] == [4] * 5
    assert set(tried[-4 * 8 // at_once :]) == {at_once}
    assert bench.losses(parts) == pytest.approx(bench.losses(whole), rel=1e-4)
    assert bench.series(parts, "grad_norm") == pytest.approx(
        bench.series(whole, "grad_norm"), rel=1e-3
    )
    events = bench.events(parts, "memory")
    assert {(event["step"], event["level"]) for event in events} == {(3, "warning")}
    warnings = [told for told in parts.state.warnings if "memory" in told]
    assert [event["message"] for event in events] == warnings
    assert "memory for 4 sequences" in warnings[0]
    assert f"training went on with {at_once}, at the same effective batch" in warnings[-1]


def test_parts_of_unequal_size_weigh_by_their_tokens(bench: Bench, limit: Limit) -> None:
    settings = ("training.batch_size=5", "training.max_steps=4")
    whole = bench.run(*settings)
    tried = limit(4)
    parts = bench.run(*settings)
    assert tried[:5] == [5, 3, 2, 3, 2]
    assert bench.losses(parts) == pytest.approx(bench.losses(whole), rel=1e-4)


def test_a_resumed_run_keeps_the_smaller_parts_and_the_curve(bench: Bench, limit: Limit) -> None:
    limit(2)
    whole = bench.run("model.dropout=0.2")
    parts = bench.run("model.dropout=0.2", stop_at=5)
    assert checkpoint.load(parts.paths.checkpoint("latest"))["standing"]["sequences_at_once"] == 2
    tried = limit(2)
    bench.train(parts, source="latest")
    assert set(tried) == {2}
    assert bench.losses(parts) == bench.losses(whole)
    assert same(model_of(parts), model_of(whole))


def test_no_room_for_one_sequence_ends_the_run_with_advice(bench: Bench, limit: Limit) -> None:
    tried = limit(0)
    with pytest.raises(TrainingError, match="even for one sequence"):
        bench.run()
    assert tried == [4, 2, 1]


def test_an_evaluation_goes_on_in_smaller_batches(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("training.max_steps=2", "evaluation.every_steps=1", "evaluation.prompts=[]")
    whole = bench.run(*settings)
    honest, tried = GPT.token_losses, []

    def token_losses(
        self: GPT, tokens: torch.Tensor, targets: torch.Tensor, scored: int | None = None
    ) -> torch.Tensor:
        tried.append(len(tokens))
        if len(tokens) > 40:
            more_than_there_is()
        return honest(self, tokens, targets, scored)

    monkeypatch.setattr(GPT, "token_losses", token_losses)
    parts = bench.run(*settings)
    assert parts.state.val_loss == pytest.approx(whole.state.val_loss, rel=1e-6)
    assert sum(size > 40 for size in tried) <= 6  # It keeps to what fits.
    assert [event["step"] for event in bench.events(parts, "memory")] == [1]
