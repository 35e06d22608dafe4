"""A model as the folder of dense Qwen3 that ``transformers`` opens with ``from_pretrained``.

The architecture is the same (Qwen3 technical report, arXiv 2505.09388), so that the weights only
change their names. The input embedding is the output head too and is written once.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from trainer import provenance
from trainer.engine import model_card
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.model import EMBEDDING_STD, GPT, NORM_EPSILON, ROPE_THETA
from trainer.engine.tokenization import END_OF_TEXT, END_OF_TEXT_ID
from trainer.errors import StoreError
from trainer.store.files import replace_file

_OUTSIDE = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
_IN_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}
_BLOCK_WEIGHT = re.compile(r"blocks\.(\d+)\.(.+)\.weight")


@dataclass(frozen=True)
class Written:
    """What a folder holds: weights, a shared one counted once, and bytes of all files."""

    parameters: int
    bytes: int


def write(loaded: LoadedModel, folder: Path, title: str, run_id: str = "") -> Written:
    """Write a model, its tokenizer and a model card into an existing folder, weights in float32.

    Args:
        title: of the model card.
        run_id: of the run, for an import into the same workspace.

    Raises:
        StoreError: a file cannot be written.
    """
    tensors = weights(loaded.model)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    stored = safetensors.torch.save(tensors, {"format": "pt"})
    told = provenance.provenance_of(loaded.payload, hashlib.sha256(stored).hexdigest(), run_id)
    files = {
        "config.json": _json(config(loaded.model)),
        "generation_config.json": _json(_generation_config()),
        "model.safetensors": stored,
        "tokenizer.json": loaded.tokenizer.to_json().encode(),
        "tokenizer_config.json": _json(_tokenizer_config(loaded.model.context)),
        provenance.NAME: provenance.encoded(told),
        "README.md": model_card.model_card(title, loaded.payload, parameters).encode(),
    }
    try:
        for name, content in files.items():
            replace_file(folder / name, content)
    except OSError as error:
        raise StoreError(
            f"The model cannot be written to {folder.parent}: {error.strerror or error}.",
            "Check free space and permissions, or choose another place.",
        ) from error
    return Written(parameters, sum(map(len, files.values())))


def weights(model: GPT) -> dict[str, Tensor]:
    """Return the weights as float32 on the CPU, under the names of ``Qwen3ForCausalLM``."""
    return {
        weight_name(name): weight.detach().float().cpu().contiguous()
        for name, weight in model.state_dict().items()
    }


def weight_name(name: str) -> str:
    """Return the name that dense Qwen3 gives a weight of this program.

    Raises:
        KeyError: it has no such weight.
    """
    found = _BLOCK_WEIGHT.fullmatch(name)
    if found is None:
        return _OUTSIDE[name]
    return f"model.layers.{found[1]}.{_IN_BLOCK[found[2]]}.weight"


def config(model: GPT) -> dict[str, Any]:
    """Return the content of ``config.json``, in the words of versions 4 and 5 of transformers."""
    shape = model.shape
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": model.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "max_position_embeddings": model.context,
        "hidden_act": "silu",
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": ROPE_THETA,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        "tie_word_embeddings": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "initializer_range": EMBEDDING_STD,
        "bos_token_id": END_OF_TEXT_ID,
        "eos_token_id": END_OF_TEXT_ID,
        "torch_dtype": "float32",
        "use_cache": True,
    }


def _generation_config() -> dict[str, Any]:
    return dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), END_OF_TEXT_ID)


def _tokenizer_config(context: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        # Text that looks like the end-of-text mark is text, as it was in training.
        "split_special_tokens": True,
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
