"""A model as dense Qwen3: names, sizes, figures, and that ``transformers`` agrees."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from tests.engine.models import ODD_TEXTS, SHAPE, TOKENIZER, small_model
from trainer.config import Layer, as_flat, build
from trainer.engine import generation, model_card, qwen3
from trainer.engine.checkpoint import LoadedModel
from trainer.errors import StoreError
from trainer.inference.request import GenerationSettings

CONTEXT = 16


@pytest.fixture
def loaded() -> LoadedModel:
    return small_model(CONTEXT)


@pytest.fixture
def folder(loaded: LoadedModel, tmp_path: Path) -> Path:
    qwen3.write(loaded, tmp_path, "Mats")
    return tmp_path


def content(folder: Path, name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / name).read_text())
    return read


# ---------------------------------------------------------------------- the files


def test_the_weights_have_the_names_and_sizes_of_qwen3(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    block = {
        "input_layernorm": (32,),
        "self_attn.q_proj": (32, 32),
        "self_attn.k_proj": (16, 32),
        "self_attn.v_proj": (16, 32),
        "self_attn.o_proj": (32, 32),
        "self_attn.q_norm": (8,),
        "self_attn.k_norm": (8,),
        "post_attention_layernorm": (32,),
        "mlp.gate_proj": (48, 32),
        "mlp.up_proj": (48, 32),
        "mlp.down_proj": (32, 48),
    }
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "model.embed_tokens.weight": (TOKENIZER.vocab_size, 32),
        "model.norm.weight": (32,),
        **{f"model.layers.{i}.{name}.weight": size for i in (0, 1) for name, size in block.items()},
    }
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_the_configuration_is_that_of_the_model(folder: Path) -> None:
    expected = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": TOKENIZER.vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 16,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    assert content(folder, "config.json").items() >= expected.items()
    assert content(folder, "generation_config.json")["eos_token_id"] == 0


def test_the_tokenizer_goes_along_as_it_is(folder: Path) -> None:
    assert (folder / "tokenizer.json").read_text() == TOKENIZER.to_json()
    settings = content(folder, "tokenizer_config.json")
    assert (settings["eos_token"], settings["model_max_length"]) == ("<|endoftext|>", 16)


def test_what_was_written_is_counted(loaded: LoadedModel, tmp_path: Path) -> None:
    written = qwen3.write(loaded, tmp_path, "Mats")
    assert written.parameters == SHAPE.parameters(TOKENIZER.vocab_size)
    assert written.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_the_model_card_tells_the_facts_of_the_run(folder: Path) -> None:
    lines = (folder / "README.md").read_text().splitlines()
    assert "# Mats" in lines
    assert [line for line in lines if line.startswith("| ")] == [
        "| | |",
        "| Training text | mats |",
        "| Licence of that text | not known: the text comes without a description that names one |",
        f"| Parameters | {(15_552 + 32 * TOKENIZER.vocab_size) / 1000:.1f} k |",
        "| Context | 16 tokens |",
        f"| Vocabulary | {TOKENIZER.vocab_size} entries, byte-level BPE |",
        "| Optimizer steps | 1,200 |",
        "| Training tokens | 2.45 M |",
        "| Training time | 1 min 1 s |",
        "| Validation loss | 3.5000 nats a token |",
        "| Validation word perplexity | 120.2 |",
        "| Evaluated at step | 1,000 |",
        "| | |",
    ]


def test_the_model_card_tells_the_settings_that_matter_and_the_licence() -> None:
    config = {"data.dataset_name": "wikitext-2", "training.max_steps": 900, "model.kv_heads": 2}
    payload = {
        "context": 16,
        "vocab_size": 300,
        "step": 7,
        "config": as_flat(build(Layer("", config))),
    }
    card = model_card.model_card("x", payload, 1)
    assert "license:\n- cc-by-sa-3.0\n- gfdl\n---" in card
    assert "| Licence of that text | CC BY-SA 3.0, GFDL |" in card
    assert "| Epochs | 3, at most 900 steps |" in card
    assert "| Learning rate | 0.006, wsd |" in card


def test_a_figure_that_is_not_known_is_left_out() -> None:
    payload = {"context": 16, "vocab_size": 300, "step": 7}
    card = model_card.model_card("x", payload, 1)
    assert "Validation" not in card
    assert "| Optimizer steps | 7 |" in card


def test_a_weight_that_qwen3_lacks_is_not_renamed() -> None:
    for name in ("blocks.0.attention.gate.weight", "head.weight", "blocks.0.mlp.up.bias"):
        with pytest.raises(KeyError):
            qwen3.weight_name(name)


def test_a_folder_that_is_not_there_is_told(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written to .*: No such file"):
        qwen3.write(loaded, tmp_path / "gone" / "folder", "Mats")


# ---------------------------------------------------------------------- transformers agrees


def test_transformers_computes_the_same_logits(folder: Path, loaded: LoadedModel) -> None:
    other = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert type(other).__name__ == "Qwen3ForCausalLM"
    tokens = torch.randint(TOKENIZER.vocab_size, (2, CONTEXT), generator=torch.Generator())
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens), other(tokens).logits, atol=1e-4, rtol=1e-4)


def test_transformers_makes_the_same_tokens(folder: Path) -> None:
    other = transformers.AutoTokenizer.from_pretrained(folder)
    for text in ("", *ODD_TEXTS):
        tokens = TOKENIZER.encode(text)
        assert (other(text)["input_ids"], other.decode(tokens)) == (tokens, text)


def test_transformers_writes_the_same_text(folder: Path, loaded: LoadedModel) -> None:
    other = transformers.AutoModelForCausalLM.from_pretrained(folder)
    codec = transformers.AutoTokenizer.from_pretrained(folder)
    prompt = codec(" the", return_tensors="pt")
    tokens = other.generate(**prompt, max_new_tokens=12, do_sample=False)[0]
    settings = GenerationSettings(prompt=" the", max_new_tokens=12, temperature=0)
    ours = generation.sample(
        loaded.model,
        loaded.tokenizer,
        settings,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext,
    )
    assert codec.decode(tokens, skip_special_tokens=True) == " the" + ours
