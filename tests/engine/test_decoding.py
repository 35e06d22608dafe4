"""What the decoders say is what the model says, for texts of any lengths, side by side."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from trainer.config import ModelShape
from trainer.engine import host_decoding
from trainer.engine.decoding import Decoder, HostDecoder, decoder_for
from trainer.engine.key_values import KeyValueCache, RaggedCache
from trainer.engine.model import GPT

CPU = torch.device("cpu")
VOCABULARY, CONTEXT = 50, 12
TOLERANCE = 1e-4


def some_model(kv_heads: int = 2, context: int = CONTEXT) -> GPT:
    """A model of which every weight matters."""
    torch.manual_seed(3)
    model = GPT(ModelShape(2, 32, 4, kv_heads, 48), VOCABULARY, context).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def some_text(count: int = CONTEXT, seed: int = 0) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(VOCABULARY, size=count).tolist()
    return tokens


def uncached(model: GPT, tokens: list[int]) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model(torch.tensor([tokens]))[0].numpy()
    return found


def decoders(model: GPT) -> list[Decoder]:
    return [HostDecoder(model), Decoder(model, CPU, contextlib.nullcontext)]


def read(decoder: Decoder, *texts: list[int]) -> RaggedCache:
    """Return the memory of texts that were read, each on its own."""
    rows = RaggedCache(decoder.context)
    for text in texts:
        memory = decoder.new_cache()
        decoder.read(text, memory)
        rows.join(memory)
    return rows


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("starts", [[4], [1, 6, 3], [1] * 9])
def test_further_tokens_are_read_as_the_model_reads_the_whole(
    kv_heads: int, starts: list[int]
) -> None:
    model = some_model(kv_heads)
    texts = [some_text(seed=seed) for seed in range(len(starts))]
    for decoder in decoders(model):
        begun = [text[:start] for text, start in zip(texts, starts, strict=True)]
        rows = read(decoder, *begun)
        for step in range(CONTEXT - max(starts)):
            ends = [start + step for start in starts]
            new = [text[end] for text, end in zip(texts, ends, strict=True)]
            logits = decoder.step(np.array(new), rows)
            for row, (text, end) in enumerate(zip(texts, ends, strict=True)):
                expected = uncached(model, text[: end + 1])[-1]
                np.testing.assert_allclose(logits[row], expected, atol=TOLERANCE)
    assert max(rows.lengths) == CONTEXT


@pytest.mark.parametrize("padding", [0.0, 1e9])
def test_attention_one_by_one_and_together_agree(
    padding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_decoding, "_PADDING_PAYS", padding)
    model, short, long = some_model(), some_text(2, seed=1), some_text(11, seed=2)
    decoder = HostDecoder(model)
    logits = decoder.step(np.array([5, 6]), read(decoder, short, long))
    for row, text in enumerate(([*short, 5], [*long, 6])):
        np.testing.assert_allclose(logits[row], uncached(model, text)[-1], atol=TOLERANCE)


def test_texts_leave_and_join_and_are_taken_out_without_a_trace() -> None:
    model = some_model()
    for decoder in decoders(model):
        texts = [some_text(count, seed=count) for count in (3, 5, 7, 2)]
        rows = read(decoder, *texts[:3])
        rows.leave(0)  # The last takes its slot.
        taken = rows.take(1)
        rows.join(read(decoder, texts[3]).take(0))
        rows.join(taken)
        logits = decoder.step(np.array([1, 2, 3]), rows)
        for row, text in enumerate(([*texts[2], 1], [*texts[3], 2], [*texts[1], 3])):
            np.testing.assert_allclose(logits[row], uncached(model, text)[-1], atol=TOLERANCE)


def test_a_text_read_in_chunks_is_the_text_read_whole() -> None:
    model, text = some_model(), some_text()
    for decoder in decoders(model):
        memory = decoder.new_cache()
        chunks = [text[:5], text[5:6], text[6:10], text[10:]]
        last = [decoder.read(chunk, memory) for chunk in chunks][-1]
        np.testing.assert_allclose(last, uncached(model, text)[-1], atol=TOLERANCE)
        memory = decoder.new_cache()
        every = np.concatenate([decoder.read_all(chunk, memory) for chunk in chunks])
        np.testing.assert_allclose(every, uncached(model, text), atol=TOLERANCE)


def test_more_tokens_than_the_context_holds_are_refused() -> None:
    decoder = HostDecoder(some_model())
    with pytest.raises(ValueError, match="do not fit a context of 12"):
        decoder.read(some_text(CONTEXT + 1), decoder.new_cache())


def test_an_empty_memory_has_no_room() -> None:
    with pytest.raises(ValueError, match="no room"):
        RaggedCache(CONTEXT).join(KeyValueCache(1, CONTEXT))


# ---------------------------------------------------------------------- what it takes


def test_memory_grows_with_use_and_goes_with_the_last_text() -> None:
    decoder = HostDecoder(some_model(context=1000))
    rows = read(decoder, some_text(5))
    assert rows.bytes == decoder.bytes_a_row * 64 / 1000
    for _ in range(60):
        decoder.step(np.array([1]), rows)
    assert rows.bytes == decoder.bytes_a_row * 128 / 1000
    rows.leave(0)
    assert rows.bytes == 0


def test_a_row_never_takes_more_than_it_is_said_to() -> None:
    decoder = HostDecoder(some_model())
    rows = read(decoder, some_text(1))
    for _ in range(CONTEXT - 1):
        decoder.step(np.array([1]), rows)
    assert rows.bytes == decoder.bytes_a_row == 2 * 4 * 2 * 2 * 8 * CONTEXT


def test_the_weights_of_a_model_that_is_only_read_are_held_once() -> None:
    model, text = some_model(), some_text(4)
    expected, names = uncached(model, text), list(model.state_dict())
    copying = HostDecoder(model)
    sharing = HostDecoder(model, read_only=True)
    attention, mlp = (32 + 16 + 16) * 32, 2 * 48 * 32
    assert copying.bytes - sharing.bytes == 4 * 2 * (attention + mlp)
    weights = dict(model.named_parameters())
    gate, up = weights["blocks.0.mlp.gate.weight"], weights["blocks.0.mlp.up.weight"]
    assert gate.untyped_storage().data_ptr() == up.untyped_storage().data_ptr()
    assert list(model.state_dict()) == names
    np.testing.assert_array_equal(uncached(model, text), expected)
    logits = sharing.step(np.array(text[3:]), read(sharing, text[:3]))
    np.testing.assert_allclose(logits[0], expected[-1], atol=TOLERANCE)


def test_a_model_that_learns_is_left_as_it_is() -> None:
    model = some_model().train()
    before = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    HostDecoder(model).read(some_text(3), KeyValueCache(2, CONTEXT))
    assert {name: weight.data_ptr() for name, weight in model.named_parameters()} == before
    assert model.training


def test_the_cpu_has_its_own_decoder() -> None:
    model = some_model()
    assert type(decoder_for(model, CPU, contextlib.nullcontext)) is HostDecoder
    assert type(decoder_for(model, torch.device("cuda"), contextlib.nullcontext)) is Decoder
