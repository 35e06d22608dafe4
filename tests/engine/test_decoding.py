"""What the fast decoder says is what the model says, with a cache and without."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from trainer.config import ModelShape
from trainer.engine.decoding import Decoder, HostDecoder, decoder_for
from trainer.engine.model import GPT, KeyValueCache

CPU = torch.device("cpu")
VOCABULARY, CONTEXT = 50, 12
TOLERANCE = 1e-4


def some_model(kv_heads: int = 2) -> GPT:
    """A model of which every weight matters."""
    torch.manual_seed(3)
    model = GPT(ModelShape(2, 32, 4, kv_heads, 48), VOCABULARY, CONTEXT).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def some_tokens(rows: int, count: int = CONTEXT) -> np.ndarray:
    return np.random.default_rng(0).integers(VOCABULARY, size=(rows, count))


def uncached(model: GPT, tokens: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = model(torch.from_numpy(tokens))[:, -1].numpy()
    return found


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("rows", [1, 3])
def test_cached_and_uncached_logits_agree(kv_heads: int, rows: int) -> None:
    model, tokens = some_model(kv_heads), some_tokens(rows)
    decoder = HostDecoder(model)
    cache = decoder.new_cache()
    decoder.next_logits(tokens[:, :4], cache)
    for length in range(5, CONTEXT + 1):
        logits = decoder.next_logits(tokens[:, length - 1 : length], cache)
        np.testing.assert_allclose(logits, uncached(model, tokens[:, :length]), atol=TOLERANCE)
    assert cache.length == CONTEXT


def test_they_agree_after_a_cache_was_cleared() -> None:
    model, tokens = some_model(), some_tokens(2)
    decoder = HostDecoder(model)
    cache = decoder.new_cache()
    decoder.next_logits(tokens, cache)
    cache.clear()
    decoder.next_logits(tokens[:, 3:8], cache)
    logits = decoder.next_logits(tokens[:, 8:9], cache)
    np.testing.assert_allclose(logits, uncached(model, tokens[:, 3:9]), atol=TOLERANCE)


def test_rows_can_be_chosen_from_a_cache() -> None:
    model, tokens = some_model(), some_tokens(3)
    decoder = HostDecoder(model)
    cache = decoder.new_cache()
    decoder.next_logits(tokens[:, :5], cache)
    cache.select([2, 0, 2])
    chosen = tokens[[2, 0, 2]]
    logits = decoder.next_logits(chosen[:, 5:6], cache)
    np.testing.assert_allclose(logits, uncached(model, chosen[:, :6]), atol=TOLERANCE)


def test_an_empty_cache_has_no_rows_to_choose_from() -> None:
    with pytest.raises(ValueError, match="no room"):
        KeyValueCache(1, CONTEXT).select([0])


def test_the_model_itself_says_the_same() -> None:
    model, tokens = some_model(), some_tokens(2)
    fast, plain = HostDecoder(model), Decoder(model, CPU, contextlib.nullcontext)
    caches = fast.new_cache(), plain.new_cache()
    for part in (tokens[:, :3], tokens[:, 3:4], tokens[:, 4:5]):
        logits = fast.next_logits(part, caches[0])
        expected = plain.next_logits(part, caches[1])
        np.testing.assert_allclose(logits, expected, atol=TOLERANCE)


def test_more_tokens_than_the_context_holds_are_refused() -> None:
    decoder = HostDecoder(some_model())
    with pytest.raises(ValueError, match="do not fit a context of 12"):
        decoder.next_logits(some_tokens(1, CONTEXT + 1), decoder.new_cache())


def test_the_cpu_has_its_own_decoder() -> None:
    model = some_model()
    assert type(decoder_for(model, CPU, contextlib.nullcontext)) is HostDecoder
    assert type(decoder_for(model, torch.device("cuda"), contextlib.nullcontext)) is Decoder
