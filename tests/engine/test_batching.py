"""Texts that are written together are what each would be alone; one that ends disturbs nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.engine.test_generation import CONTEXT, CPU, ByteCodec
from trainer.config import ModelShape
from trainer.engine import batching
from trainer.engine.batching import Batch, Told
from trainer.engine.continuation import Piece, PromptRead
from trainer.engine.decoding import Decoder, HostDecoder
from trainer.engine.generation import Generation
from trainer.engine.model import GPT
from trainer.errors import CheckpointError, TrainerError, UsageError
from trainer.inference.request import GenerationSettings

Texts = dict[Hashable, str]


def some_model(context: int = CONTEXT) -> GPT:
    torch.manual_seed(5)
    model = GPT(ModelShape(2, 32, 4, 2, 48), 257, context).eval()
    # Fresh weights expect every byte alike; these have opinions.
    nn.init.normal_(model.embedding.weight, std=0.5)
    return model


MODEL = some_model()
HOST, DEVICE = HostDecoder(MODEL), Decoder(MODEL, CPU, contextlib.nullcontext)
both_ways = pytest.mark.parametrize("decoder", [HOST, DEVICE], ids=["host", "device"])


def batch(decoder: Decoder = HOST, most_rows: int = 32) -> Batch:
    return Batch(decoder, ByteCodec(), most_rows)


def asked(prompt: str = "", **values: Any) -> GenerationSettings:
    return GenerationSettings(prompt=prompt, **{"seed": 1, "max_new_tokens": 12} | values)


def alone(decoder: Decoder, wanted: GenerationSettings) -> str:
    return "".join(piece.text for piece in Generation(decoder, ByteCodec(), wanted).pieces())


def run(texts: Batch) -> list[tuple[Hashable, Told]]:
    told = []
    while not texts.idle:
        told += texts.turn()
    return told


def joined(told: list[tuple[Hashable, Told]]) -> Texts:
    texts: Texts = {}
    for key, piece in told:
        assert isinstance(piece, Piece)
        texts[key] = texts.get(key, "") + piece.text
    return texts


# ---------------------------------------------------------------------- together and alone


@both_ways
def test_texts_of_all_lengths_are_what_each_is_alone(decoder: Decoder) -> None:
    """Some are longer than the context, so they go on from its last half at different times."""
    wanted = {prompt: asked(prompt, seed=len(prompt)) for prompt in ("", "a", "Hello", "x" * 20)}
    texts = batch(decoder)
    for key, one in wanted.items():
        texts.add(key, one)
    assert joined(run(texts)) == {key: alone(decoder, one) for key, one in wanted.items()}


visits = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.text("ab\u20ac", max_size=12),
        st.integers(1, 14),
        st.sampled_from([0.0, 0.9, 2.0]),
        st.none() | st.integers(0, 8),
    ),
    max_size=7,
)


@given(visits=visits, host=st.booleans())
@settings(max_examples=40, deadline=None)
def test_texts_that_come_and_go_at_any_time_disturb_nobody(visits: Any, host: bool) -> None:
    decoder = HOST if host else DEVICE
    texts = batch(decoder)
    told: list[tuple[Hashable, Told]] = []
    wanted = {
        key: asked(prompt, seed=key, max_new_tokens=count, temperature=temperature)
        for key, (_, prompt, count, temperature, _) in enumerate(visits)
    }
    for turn in range(16):
        for key, (start, _, _, _, end) in enumerate(visits):
            if turn == start:
                texts.add(key, wanted[key])
            if end is not None and turn == start + end:
                told += [(key, piece) for piece in texts.cancel(key)]
        told += texts.turn()
    told += run(texts)
    assert texts.free_rows == 32
    whole = joined(told)
    for key, (_, _, _, _, end) in enumerate(visits):
        expected = alone(decoder, wanted[key])
        assert (
            whole[key] == expected
            if end is None
            else expected.startswith(whole[key].rstrip("\ufffd"))
        )


def test_a_text_is_exactly_the_same_again_alone() -> None:
    assert alone(HOST, asked("Hi", temperature=2.0)) == alone(HOST, asked("Hi", temperature=2.0))


def test_one_token_a_turn_for_every_text() -> None:
    texts = batch()
    texts.add("a", asked("Hello", max_new_tokens=3))
    first = [key for key, _ in texts.turn()]
    texts.add("b", asked("Hi", max_new_tokens=3))
    later = [[key for key, _ in texts.turn()] for _ in range(2)]
    assert (first, later) == (["a"], [["a", "b"], ["a", "a", "b"]])  # The end is a piece too.


# ---------------------------------------------------------------------- prompts


def test_a_long_prompt_is_read_in_chunks_while_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "TURN_TOKENS", 16)
    decoder = HostDecoder(some_model(context=64))
    long = asked("x" * 40, max_new_tokens=2)
    whole = alone(decoder, long)
    texts = batch(decoder)
    texts.add("short", asked("a", max_new_tokens=9))
    texts.turn()
    texts.add("long", long)
    turns = [[key for key, _ in texts.turn()] for _ in range(3)]
    assert turns == [["short"], ["short"], ["short", "long"]]
    assert joined(run(texts))["long"] == whole[1:]


def test_many_short_prompts_are_read_in_one_turn() -> None:
    texts = batch()
    for key in range(8):
        texts.add(key, asked("Hi"))
    assert len(texts.turn()) == 8


def test_ids_may_stand_in_place_of_a_text() -> None:
    ids = asked(prompt_tokens=(72, 105))
    assert alone(HOST, ids) == alone(HOST, asked("Hi"))
    with pytest.raises(UsageError, match="prompt_tokens has the id 257, which") as refused:
        batch().add("a", asked(prompt_tokens=(1, 257)))
    assert "257 entries" in refused.value.hint


@both_ways
def test_the_likelihoods_of_a_prompt_are_those_of_the_model(decoder: Decoder) -> None:
    texts = batch(decoder)
    settings = asked("0123456789", logprobs=2, prompt_logprobs=True, max_new_tokens=0, n=2)
    begun = texts.add("a", settings)
    [(_, told), *ends] = run(texts)
    assert isinstance(told, PromptRead)
    assert (begun.prompt_tokens, begun.prompt_tokens_read) == (10, CONTEXT)
    assert bytes(told.tokens) == b"23456789"
    expected = MODEL(torch.tensor([told.tokens]))[0].detach().log_softmax(-1)
    assert told.likelihoods[0] is None
    for place, found in enumerate(told.likelihoods[1:]):
        assert found is not None
        assert found.chosen.token == told.tokens[place + 1]
        logprob = float(expected[place, found.chosen.token])
        assert found.chosen.logprob == pytest.approx(logprob, abs=1e-4)
        assert [one.token for one in found.top] == expected[place].topk(2).indices.tolist()
    pieces = [Piece("", 0, "length", row) for row in (0, 1)]
    assert ends == [("a", piece) for piece in pieces]


def test_they_change_no_text() -> None:
    asked_too = asked("Hello", logprobs=1, prompt_logprobs=True)
    generation = Generation(HOST, ByteCodec(), asked_too)
    text = "".join(piece.text for piece in generation.pieces())
    assert text == alone(HOST, asked("Hello"))
    assert generation.prompt_read is not None
    assert bytes(generation.prompt_read.tokens) == b"Hello"


def test_an_empty_prompt_has_no_likelihoods() -> None:
    generation = Generation(HOST, ByteCodec(), asked(logprobs=1, prompt_logprobs=True))
    list(generation.pieces())
    assert generation.prompt_read is None


# ---------------------------------------------------------------------- room


def test_rows_are_taken_at_once_and_freed_at_once() -> None:
    texts = batch(most_rows=4)
    texts.add("a", asked("Hello", n=3))
    assert texts.free_rows == 1
    with pytest.raises(ValueError, match="2 rows are wanted, 1 are free"):
        texts.add("b", asked(n=2))
    with pytest.raises(ValueError, match="'a' is under way already"):
        texts.add("a", asked())
    texts.turn()
    assert texts.bytes > 0
    pieces = texts.cancel("a")
    assert [(piece.row, piece.finish_reason) for piece in pieces] == [
        (row, "cancelled") for row in range(3)
    ]
    assert (texts.free_rows, texts.idle, texts.bytes, texts.keys) == (4, True, 0, set())
    assert texts.cancel("a") == []


def test_a_text_that_is_cancelled_keeps_what_was_held_back() -> None:
    texts = batch()
    texts.add("a", asked("Hello", stop=("\x00" * 99,), logit_bias={0: 100}))
    texts.turn()
    texts.turn()
    assert texts.cancel("a") == [Piece("\0\0", 2, "cancelled")]


def test_a_text_that_is_held_waits_and_goes_on_where_it_was() -> None:
    texts = batch()
    texts.add("a", asked("Hello"))
    texts.add("b", asked("Hi"))
    told = texts.turn()
    for _ in range(3):
        new = texts.turn(held={"a"})
        assert [key for key, _ in new] == ["b"]
        told += new
    assert joined(told + run(texts)) == {
        "a": alone(HOST, asked("Hello")),
        "b": alone(HOST, asked("Hi")),
    }


# ---------------------------------------------------------------------- failures


def poisoned(token: int) -> GPT:
    """A model that breaks down when it reads a certain byte, and only then."""

    class Poisoned(GPT):
        def next_token_logits(self, tokens: torch.Tensor, cache: Any = None) -> torch.Tensor:
            logits = super().next_token_logits(tokens, cache)
            logits[(tokens == token).any(dim=1)] = torch.nan
            return logits

    model = Poisoned(ModelShape(2, 32, 4, 2, 48), 257, CONTEXT).eval()
    model.load_state_dict(MODEL.state_dict())
    return model


def test_a_text_that_fails_fails_alone() -> None:
    decoder = Decoder(poisoned(0), CPU, contextlib.nullcontext)
    texts = batch(decoder)
    texts.add("well", asked("Hello", logit_bias={0: -100}))
    texts.add("at once", asked("\0", n=2))
    texts.add("later", asked("Hi", n=2, logit_bias={0: 100}))
    told = run(texts)
    failures = {key: one for key, one in told if isinstance(one, TrainerError)}
    assert failures.keys() == {"at once", "later"}
    assert all(isinstance(one, CheckpointError) for one in failures.values())
    assert sum(isinstance(one, TrainerError) for _, one in told) == 2
    assert joined([pair for pair in told if pair[0] == "well"])["well"] == alone(
        decoder, asked("Hello", logit_bias={0: -100})
    )
    assert texts.free_rows == 32
