"""A model as a GGUF file: what stands in it, and that llama.cpp reads and writes as we do."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from tests.engine import gguf_reader
from tests.engine.models import ODD_TEXTS, SHAPE, TOKENIZER, small_model, trained_model
from trainer.engine import generation, gguf_file, qwen3
from trainer.engine.checkpoint import LoadedModel
from trainer.errors import StoreError
from trainer.inference.protocol import WeightType
from trainer.inference.request import GenerationSettings

PROMPTS = ["For want of a nail", "for want of a battle", " the miller"]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return small_model(gguf_reader.CONTEXT)


@pytest.fixture(scope="module")
def trained() -> LoadedModel:
    return trained_model(gguf_reader.CONTEXT)


def written(loaded: LoadedModel, folder: Path, weight_type: WeightType) -> Path:
    path = folder / f"{weight_type}.gguf"
    gguf_file.write(loaded, path, "Mats", weight_type)
    return path


# ---------------------------------------------------------------------- the file


def test_the_header_tells_what_the_model_is(loaded: LoadedModel, tmp_path: Path) -> None:
    reader = gguf.GGUFReader(written(loaded, tmp_path, "f16"))
    found = {name: field.contents() for name, field in reader.fields.items()}
    expected = {
        "general.architecture": "qwen3",
        "general.name": "Mats",
        "general.license": "not known: the text comes without a description that names one",
        "general.file_type": 1,
        "qwen3.vocab_size": TOKENIZER.vocab_size,
        "qwen3.context_length": 128,
        "qwen3.embedding_length": 32,
        "qwen3.block_count": 2,
        "qwen3.feed_forward_length": 48,
        "qwen3.attention.head_count": 4,
        "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 8,
        "qwen3.attention.value_length": 8,
        "qwen3.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "qwen3.rope.freq_base": 10_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
    }
    assert {name: found[name] for name in expected} == expected
    assert "for 1,200 steps; validation loss 3.5000 nats" in found["general.description"]


def test_the_end_of_text_is_control_and_the_unknown_word_the_users(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    reader = gguf.GGUFReader(written(loaded, tmp_path, "f16"))
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    assert (tokens[0], kinds[0]) == ("<|endoftext|>", gguf.TokenType.CONTROL)
    assert (tokens[-1], kinds[-1]) == (" <unk>", gguf.TokenType.USER_DEFINED)
    assert set(kinds[1:-1]) == {gguf.TokenType.NORMAL}


def test_float32_holds_every_weight_bit_for_bit(loaded: LoadedModel, tmp_path: Path) -> None:
    reader = gguf.GGUFReader(written(loaded, tmp_path, "f32"))
    found = {tensor.name: tensor for tensor in reader.tensors}
    ours = {gguf_file.tensor_name(n): t.numpy() for n, t in qwen3.weights(loaded.model).items()}
    assert found.keys() == ours.keys()
    for name, values in ours.items():
        assert np.array_equal(found[name].data.reshape(values.shape), values)


def test_q8_0_rounds_to_a_127th_of_the_largest_in_each_block(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    reader = gguf.GGUFReader(written(loaded, tmp_path, "q8_0"))
    found = {tensor.name: tensor for tensor in reader.tensors}["token_embd.weight"]
    values = loaded.model.embedding.weight.detach().numpy().reshape(-1, 32)
    read = gguf.quants.dequantize(found.data, found.tensor_type).reshape(-1, 32)
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(read - values) <= 0.51 * step + 0.001 * np.abs(values)).all()


@pytest.mark.parametrize(
    ("shape", "asked", "stored"),
    [
        ((32,), "q8_0", "F32"),
        ((32,), "f16", "F32"),
        ((8, 32), "f32", "F32"),
        ((8, 32), "f16", "F16"),
        ((8, 64), "q8_0", "Q8_0"),
        ((64, 48), "q8_0", "F16"),  # A block of 32 does not divide its rows.
    ],
)
def test_the_number_format_follows_from_the_shape(
    shape: tuple[int, ...], asked: WeightType, stored: str
) -> None:
    assert gguf_file.stored_as(shape, asked).name == stored


def test_what_was_written_is_counted(loaded: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    found = gguf_file.write(loaded, path, "Mats", "q8_0")
    expected = SHAPE.parameters(TOKENIZER.vocab_size)
    assert (found.parameters, found.bytes) == (expected, path.stat().st_size)


def test_a_folder_that_is_not_there_is_told(loaded: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written to .*: No such file"):
        gguf_file.write(loaded, tmp_path / "gone" / "model.gguf", "Mats", "f16")


# ---------------------------------------------------------------------- llama.cpp agrees


def asked(program: str, path: Path) -> dict[str, list[Any]]:
    """Return what llama.cpp makes of the texts and the prompts."""
    if importlib.util.find_spec(program) is None:
        package = program.replace("llama_cpp", "llama-cpp-python")
        pytest.skip(f"{package} is not installed: pip install {package}")
    result = subprocess.run(
        [sys.executable, gguf_reader.__file__, program, str(path)],
        input=json.dumps({"texts": ODD_TEXTS, "prompts": PROMPTS}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    told: dict[str, list[Any]] = json.loads(result.stdout)
    return told


def greedy(loaded: LoadedModel, prompt: str) -> str:
    settings = GenerationSettings(
        prompt=prompt, max_new_tokens=gguf_reader.NEW_TOKENS, temperature=0
    )
    return generation.sample(
        loaded.model,
        loaded.tokenizer,
        settings,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext,
    )


@pytest.mark.parametrize("weight_type", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("program", gguf_reader.PROGRAMS)
def test_llama_cpp_writes_the_same_text(
    trained: LoadedModel, tmp_path: Path, program: str, weight_type: WeightType
) -> None:
    """Weights rounded to 8 bits too, for a model that is as sure of its words as this one."""
    told = asked(program, written(trained, tmp_path, weight_type))
    assert told["written"] == [greedy(trained, prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("program", gguf_reader.PROGRAMS)
def test_llama_cpp_makes_the_same_tokens(loaded: LoadedModel, tmp_path: Path, program: str) -> None:
    told = asked(program, written(loaded, tmp_path, "f16"))
    assert told["tokens"] == [TOKENIZER.encode(text) for text in ODD_TEXTS]
