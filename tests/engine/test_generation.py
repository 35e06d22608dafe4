"""Writing text: what is read, how it ends, replay, several at once, no broken characters."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainer.config import ModelShape
from trainer.engine.continuation import Piece
from trainer.engine.decoding import Decoder, decoder_for
from trainer.engine.generation import Generation, sample
from trainer.engine.key_values import Memory
from trainer.engine.model import GPT
from trainer.engine.text_assembly import TextAssembler
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

    def next_token_logits(self, tokens: Tensor, cache: Memory | None = None) -> Tensor:
        self.features(tokens, cache)
        self.read.append(tokens[0].tolist())
        expected = self.script[len(self.read) - 1]
        return torch.full((len(tokens), 257), -1e9).index_fill(1, torch.tensor(expected), 1e9)


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(5)
    model = GPT(ModelShape(2, 32, 4, 2, 48), 257, CONTEXT)
    # Fresh weights expect every byte alike; these have opinions.
    nn.init.normal_(model.embedding.weight, std=0.5)
    return model


def generation(model: GPT, prompt: str = "", **settings: Any) -> Generation:
    if isinstance(model, Parrot):
        decoder = Decoder(model, CPU, contextlib.nullcontext)
    else:
        decoder = decoder_for(model, CPU, contextlib.nullcontext)
    return Generation(decoder, ByteCodec(), GenerationSettings(prompt=prompt, **settings))


def written(model: GPT, prompt: str = "", **settings: Any) -> tuple[str, int, str | None]:
    [text] = all_written(model, prompt, **settings)
    return text


def all_written(model: GPT, prompt: str = "", **settings: Any) -> list[tuple[str, int, str | None]]:
    pieces = list(generation(model, prompt, **settings).pieces())
    rows = [[piece for piece in pieces if piece.row == row] for row in range(settings.get("n", 1))]
    return [
        ("".join(piece.text for piece in row), row[-1].tokens, row[-1].finish_reason)
        for row in rows
    ]


# ---------------------------------------------------------------------- how it ends


def test_it_ends_with_the_text() -> None:
    assert written(Parrot(b"Hello")) == ("Hello", 5, "end_of_text")


def test_it_ends_at_the_length_asked_for() -> None:
    assert written(Parrot(b"Hello"), max_new_tokens=3) == ("Hel", 3, "length")


def test_it_ends_before_a_stop_text() -> None:
    assert written(Parrot(b"one. two. three."), stop=("two", ".x")) == ("one. ", 8, "stop")


def test_it_ends_when_it_is_cancelled_and_keeps_what_came() -> None:
    model = Parrot(b"Hello")
    got = list(generation(model).pieces(should_stop=lambda: len(model.read) == 2))
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


def test_how_much_of_a_prompt_was_read_is_told(model: GPT) -> None:
    counts = {
        prompt: (found.prompt_tokens, found.prompt_tokens_read)
        for prompt in ("", "abc", "0123456789")
        if (found := generation(model, prompt))
    }
    assert counts == {"": (0, 0), "abc": (3, 3), "0123456789": (10, CONTEXT)}


def test_a_full_context_goes_on_from_its_last_half() -> None:
    model = Parrot(b"abcdef")
    written(model, "123456")
    assert [bytes(read) for read in model.read[:-1]] == [b"123456", b"a", b"b", b"6abc", b"d", b"e"]


def test_a_model_longer_than_its_context_still_fits(model: GPT) -> None:
    _, tokens, reason = written(model, "Hello world", max_new_tokens=40, seed=1, temperature=0.0)
    assert (tokens, reason) == (40, "length")


def test_a_cache_changes_nothing_also_after_a_slide(model: GPT) -> None:
    """Greedy text is what the model says when it reads all it may see anew for each token."""
    text, _, _ = written(model, "Hello", max_new_tokens=20, temperature=0.0)
    seen, tokens = list(b"Hello"), []
    for _ in range(20):
        tokens.append(int(model.eval()(torch.tensor([seen]))[0, -1, :256].argmax()))
        seen.append(tokens[-1])
        if len(seen) > CONTEXT:
            seen = seen[-CONTEXT // 2 :]
    assert text == bytes(tokens).decode("utf-8", "replace")


# ---------------------------------------------------------------------- several texts


def test_each_of_several_texts_is_what_its_seed_writes_alone(model: GPT) -> None:
    settings = {"max_new_tokens": 20, "temperature": 2.0}
    together = all_written(model, "Hello", n=4, seed=11, **settings)
    alone = [written(model, "Hello", seed=seed, **settings) for seed in (11, 12, 13, 14)]
    assert together == alone
    assert len(set(alone)) == 4


def test_several_texts_end_each_in_its_own_time(model: GPT) -> None:
    """Those that go on are not disturbed by those that have ended."""
    settings = {"seed": 1, "max_new_tokens": 30, "temperature": 2.0, "stop": ("a", "b", "c", "d")}
    together = all_written(model, "Hello", n=5, **settings)
    assert together == [written(model, "Hello", **settings | {"seed": 1 + i}) for i in range(5)]
    assert len({tokens for _, tokens, _ in together}) > 2


def test_the_same_seed_writes_the_same_texts_again(model: GPT) -> None:
    settings = {"n": 3, "seed": 8, "max_new_tokens": 20, "top_p": 0.9}
    assert all_written(model, "Hi", **settings) == all_written(model, "Hi", **settings)


def test_the_prompt_of_several_texts_is_read_once() -> None:
    model = Parrot(b"cd")
    assert all_written(model, "ab", n=3) == [("cd", 2, "end_of_text")] * 3
    assert model.read == [[97, 98], [99], [100]]


def test_several_texts_are_cancelled_together(model: GPT) -> None:
    pieces = list(generation(model, n=2).pieces(should_stop=lambda: True))
    assert pieces == [Piece("", 0, "cancelled", row=0), Piece("", 0, "cancelled", row=1)]


# ---------------------------------------------------------------------- how likely it was


def test_likelihoods_are_those_of_the_model_itself(model: GPT) -> None:
    """Whatever the settings leave out: temperature, top-k and penalty change none of them."""
    settings = {"temperature": 0.3, "top_k": 3, "repetition_penalty": 2.0, "seed": 1}
    first, *_ = generation(model, "Hello", logprobs=2, max_new_tokens=1, **settings).pieces()
    expected = model.eval()(torch.tensor([list(b"Hello")]))[0, -1].detach().log_softmax(0)
    assert first.likelihoods is not None
    chosen, top = first.likelihoods.chosen, first.likelihoods.top
    assert chosen.logprob == pytest.approx(float(expected[chosen.token]), abs=1e-4)
    assert [one.token for one in top] == expected.topk(2).indices.tolist()
    assert [one.logprob for one in top] == pytest.approx(expected.topk(2).values.tolist(), abs=1e-4)


def test_likelihoods_are_told_only_when_asked_for_and_change_no_text(model: GPT) -> None:
    assert written(model, "Hi", seed=2, logprobs=5) == written(model, "Hi", seed=2)
    plain = list(generation(model, "Hi", max_new_tokens=3, seed=2).pieces())
    assert [piece.likelihoods for piece in plain] == [None] * 4
    bare = list(generation(model, "Hi", max_new_tokens=3, seed=2, logprobs=0).pieces())
    assert [piece.likelihoods and piece.likelihoods.top for piece in bare] == [[], [], [], None]


def test_the_mark_that_ends_a_text_is_told_of_and_not_counted() -> None:
    *_, last = generation(Parrot(b"Hi"), logprobs=0).pieces()
    assert (last.tokens, last.finish_reason) == (2, "end_of_text")
    assert last.likelihoods is not None
    assert last.likelihoods.chosen.token == ByteCodec.end_of_text


# ---------------------------------------------------------------------- replay and manners


def test_the_same_seed_writes_the_same_text_again(model: GPT) -> None:
    first = written(model, "Hi", max_new_tokens=30, seed=11)
    assert written(model, "Hi", max_new_tokens=30, seed=11) == first
    assert written(model, "Hi", max_new_tokens=30, seed=12) != first


def test_random_numbers_gradients_and_mode_are_left_as_they_were(model: GPT) -> None:
    model.train()
    before = torch.get_rng_state()
    for _piece in generation(model, "Hi", max_new_tokens=3, seed=1).pieces():
        assert model.training
        assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sample_is_the_first_of_the_whole_texts(model: GPT) -> None:
    settings = GenerationSettings(prompt="x", seed=1, n=2, max_new_tokens=9)
    text = sample(model, ByteCodec(), settings, device=CPU, autocast=contextlib.nullcontext)
    assert text == written(model, "x", seed=1, max_new_tokens=9)[0]


def test_wrong_settings_are_refused(model: GPT) -> None:
    with pytest.raises(UsageError, match="temperature = -1 is not"):
        generation(model, temperature=-1)


def test_spoilt_weights_are_told(model: GPT) -> None:
    nn.init.constant_(model.norm.weight, math.nan)
    with pytest.raises(CheckpointError, match="weights of this checkpoint are spoilt"):
        written(model, "Hi")


def test_entries_that_the_tokenizer_lacks_are_never_written() -> None:
    class Small(ByteCodec):
        vocab_size = 2

    model = GPT(ModelShape(1, 8, 1, 1, 8), 257, CONTEXT)
    settings = GenerationSettings(prompt="\0", max_new_tokens=50, temperature=10.0, seed=1)
    text = sample(model, Small(), settings, device=CPU, autocast=contextlib.nullcontext)
    assert set(text) == {"\0", "\1"}


# ---------------------------------------------------------------------- the text


def assembled(parts: list[bytes], *stop: str) -> list[str]:
    assembler = TextAssembler(stop)
    return [*(assembler.add(part) for part in parts), assembler.finish()]


def test_a_character_is_never_split() -> None:
    euro = "€".encode()
    assert assembled([b"1 ", euro[:1], euro[1:2], euro[2:] + b"!"]) == ["1 ", "", "", "€!", ""]


def test_bytes_that_make_no_character_are_replaced() -> None:
    assert assembled([b"a\xff", b"b\xe2"]) == ["a\ufffd", "b", "\ufffd"]


def test_a_character_that_the_length_cuts_is_left_out() -> None:
    assembler = TextAssembler((";",))
    assert [assembler.add(b"a\xff\xe2\x82"), assembler.finish(cut=True)] == ["a\ufffd", ""]


def test_text_that_may_become_a_stop_text_is_held_back() -> None:
    assert assembled([b"say ", b"EN", b"D now"], "END") == ["say ", "", "", ""]
    assert assembled([b"say ", b"EN", b"X"], "END") == ["say ", "", "ENX", ""]
    assert assembled([b"say ", b"EN"], "END") == ["say ", "", "EN"]


def test_the_first_of_several_stop_texts_counts() -> None:
    assert assembled([b"a;b.c"], ".", ";") == ["a", ""]
