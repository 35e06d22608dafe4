"""Writing text: choices with known probabilities, text without broken characters, replay."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.config import ModelShape
from trainer.engine.generation import (
    Piece,
    TextAssembler,
    choose_token,
    distribution,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    sample,
    stream,
)
from trainer.engine.model import GPT, KeyValueCache
from trainer.errors import CheckpointError, UsageError
from trainer.inference.request import GenerationSettings

CPU = torch.device("cpu")
CONTEXT = 8


class ByteCodec:
    """One token a byte; token 256 ends a text."""

    end_of_text = 256
    vocab_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def token_bytes(self, token: int) -> bytes:
        return bytes([token])


class Parrot(GPT):
    """A model that is certain of the next byte: it reads out a script, whatever it is told."""

    def __init__(self, script: bytes, context: int = CONTEXT) -> None:
        super().__init__(ModelShape(1, 8, 1, 1, 8), 257, context)
        self.script = [*script, 256]
        self.read: list[list[int]] = []

    def next_token_logits(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        self.read.append(tokens[0].tolist())
        logits = torch.full((1, 257), -1e9)
        logits[0, self.script[len(self.read) - 1]] = 1e9
        return logits


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(5)
    model = GPT(ModelShape(2, 32, 4, 2, 48), 257, CONTEXT)
    # Fresh weights expect every byte alike; these have opinions.
    nn.init.normal_(model.embedding.weight, std=0.5)
    return model


def pieces(
    model: GPT, prompt: str = "", should_stop: Callable[[], bool] = lambda: False, **settings: Any
) -> Iterator[Piece]:
    return stream(
        model,
        ByteCodec(),
        GenerationSettings(prompt=prompt, **settings),
        device=CPU,
        autocast=contextlib.nullcontext,
        should_stop=should_stop,
    )


def written(model: GPT, prompt: str = "", **settings: Any) -> tuple[str, int, str | None]:
    *_, last = all_pieces = list(pieces(model, prompt, **settings))
    return "".join(piece.text for piece in all_pieces), last.tokens, last.finish_reason


# ---------------------------------------------------------------------- how it ends


def test_it_ends_with_the_text() -> None:
    assert written(Parrot(b"Hello")) == ("Hello", 5, "end_of_text")


def test_it_ends_at_the_length_asked_for() -> None:
    assert written(Parrot(b"Hello"), max_new_tokens=3) == ("Hel", 3, "length")


def test_it_ends_before_a_stop_text() -> None:
    assert written(Parrot(b"one. two. three."), stop=("two", ".x")) == ("one. ", 8, "stop")


def test_it_ends_when_it_is_cancelled_and_keeps_what_came() -> None:
    model = Parrot(b"Hello")
    got = list(pieces(model, should_stop=lambda: len(model.read) == 2))
    assert got[-1] == Piece("", 2, "cancelled")
    assert "".join(piece.text for piece in got) == "He"


# ---------------------------------------------------------------------- what the model reads


def test_an_empty_prompt_begins_a_text() -> None:
    model = Parrot(b"a")
    written(model)
    assert model.read == [[256], [ord("a")]]


def test_after_the_prompt_one_token_is_read_at_a_time() -> None:
    model = Parrot(b"cd")
    written(model, "ab")
    assert model.read == [[97, 98], [99], [100]]


def test_of_a_prompt_longer_than_the_context_the_end_is_read() -> None:
    model = Parrot(b"x")
    written(model, "0123456789")
    assert bytes(model.read[0]) == b"23456789"


def test_a_full_context_goes_on_from_its_last_half() -> None:
    model = Parrot(b"abcdef")
    written(model, "123456")
    assert [bytes(read) for read in model.read[:-1]] == [b"123456", b"a", b"b", b"6abc", b"d", b"e"]


def test_a_model_longer_than_its_context_still_fits(model: GPT) -> None:
    _, tokens, reason = written(model, "Hello world", max_new_tokens=40, seed=1, temperature=0.0)
    assert (tokens, reason) == (40, "length")


def test_a_cache_changes_nothing(model: GPT) -> None:
    text, _, _ = written(model, "He", max_new_tokens=6, temperature=0.0)
    tokens = [72, 101]
    for _ in range(6):
        tokens.append(int(model.eval()(torch.tensor([tokens]))[0, -1].argmax()))
    assert text == bytes(tokens[2:]).decode("utf-8", "replace")


# ---------------------------------------------------------------------- replay and manners


def test_the_same_seed_writes_the_same_text_again(model: GPT) -> None:
    first = written(model, "Hi", max_new_tokens=30, seed=11)
    assert written(model, "Hi", max_new_tokens=30, seed=11) == first
    assert written(model, "Hi", max_new_tokens=30, seed=12) != first


def test_random_numbers_gradients_and_mode_are_left_as_they_were(model: GPT) -> None:
    model.train()
    before = torch.get_rng_state()
    for _piece in pieces(model, "Hi", max_new_tokens=3, seed=1):
        assert model.training
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_is_the_whole_text() -> None:
    settings = GenerationSettings(prompt="x", seed=1)
    text = sample(
        Parrot(b"Hello"), ByteCodec(), settings, device=CPU, autocast=contextlib.nullcontext
    )
    assert text == "Hello"


def test_wrong_settings_are_refused(model: GPT) -> None:
    with pytest.raises(UsageError, match="temperature = -1 is not"):
        list(pieces(model, temperature=-1))


def test_entries_that_the_tokenizer_lacks_are_never_written() -> None:
    class Small(ByteCodec):
        vocab_size = 2

    model = GPT(ModelShape(1, 8, 1, 1, 8), 257, CONTEXT)
    settings = GenerationSettings(prompt="\0", max_new_tokens=50, temperature=10.0, seed=1)
    text = sample(model, Small(), settings, device=CPU, autocast=contextlib.nullcontext)
    assert set(text) == {"\0", "\1"}


# ---------------------------------------------------------------------- the choice


LOGITS = torch.tensor([1.0, 2.0, 3.0, 4.0]).log()
"""Probabilities 0.1, 0.2, 0.3 and 0.4."""


def probabilities(**settings: Any) -> list[float]:
    settings = {"temperature": 1.0} | settings
    found: list[float] = distribution(LOGITS, GenerationSettings(**settings)).tolist()
    return found


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.1, 0.2, 0.3, 0.4]),
        ({"temperature": 0.5}, [1 / 30, 4 / 30, 9 / 30, 16 / 30]),
        ({"top_k": 2}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_k": 1}, [0, 0, 0, 1]),
        ({"top_k": 99}, [0.1, 0.2, 0.3, 0.4]),
        ({"top_p": 0.39}, [0, 0, 0, 1]),
        ({"top_p": 0.5}, [0, 0, 3 / 7, 4 / 7]),
        ({"top_p": 1.0}, [0.1, 0.2, 0.3, 0.4]),
        ({"min_p": 0.6}, [0, 0, 3 / 7, 4 / 7]),
        ({"min_p": 1.0}, [0, 0, 0, 1]),
        ({"top_k": 3, "top_p": 0.7}, [0, 0, 3 / 7, 4 / 7]),
        ({"temperature": 1e-9}, [0, 0, 0, 1]),
        ({"temperature": 1e300}, [0.25, 0.25, 0.25, 0.25]),
    ],
)
def test_the_distribution_after_each_setting(
    settings: dict[str, Any], expected: list[float]
) -> None:
    assert probabilities(**settings) == pytest.approx(expected, abs=1e-7)


def test_equal_probabilities_do_not_pass_the_limits() -> None:
    even = torch.full((4,), 0.25, dtype=torch.float64)
    assert int((keep_top_k(even, 2) > 0).sum()) == 2
    assert int((keep_top_p(even, 0.5) > 0).sum()) == 2


def test_temperature_zero_takes_the_likeliest() -> None:
    settings = GenerationSettings(temperature=0.0)
    assert choose_token(LOGITS, settings, set(), torch.Generator()) == 3


def test_choices_follow_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    settings = GenerationSettings(temperature=1.0)
    drawn = [choose_token(LOGITS, settings, set(), generator) for _ in range(4000)]
    shares = [drawn.count(token) / 4000 for token in range(4)]
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)


def test_repetition_makes_seen_tokens_less_likely_on_both_sides_of_zero() -> None:
    logits = torch.tensor([2.0, -2.0, 2.0, -2.0])
    penalised = penalise_repetition(logits, {0, 1}, 2.0)
    assert penalised.tolist() == [1.0, -4.0, 2.0, -2.0]
    assert logits.tolist() == [2.0, -2.0, 2.0, -2.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_spoilt_weights_are_told(bad: float) -> None:
    with pytest.raises(CheckpointError, match="not finite"):
        choose_token(torch.tensor([0.0, bad]), GenerationSettings(), set(), torch.Generator())


# ---------------------------------------------------------------------- the text


def assembled(parts: list[bytes], *stop: str) -> list[str]:
    assembler = TextAssembler(stop)
    return [*(assembler.add(part) for part in parts), assembler.finish()]


def test_a_character_is_never_split() -> None:
    euro = "€".encode()
    assert assembled([b"1 ", euro[:1], euro[1:2], euro[2:] + b"!"]) == ["1 ", "", "", "€!", ""]


def test_bytes_that_make_no_character_are_replaced() -> None:
    assert assembled([b"a\xff", b"b\xe2"]) == ["a\ufffd", "b", "\ufffd"]


def test_text_that_may_become_a_stop_text_is_held_back() -> None:
    assert assembled([b"say ", b"EN", b"D now"], "END") == ["say ", "", "", ""]
    assert assembled([b"say ", b"EN", b"X"], "END") == ["say ", "", "ENX", ""]
    assert assembled([b"say ", b"EN"], "END") == ["say ", "", "EN"]


def test_the_first_of_several_stop_texts_counts() -> None:
    assert assembled([b"a;b.c"], ".", ";") == ["a", ""]
