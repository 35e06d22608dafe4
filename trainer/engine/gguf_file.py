"""A model as one GGUF file, which llama.cpp and the programs built on it open.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The architecture is
``qwen3``; its rotary positions turn the same pairs as ours, so that the weights only change their
names. The input embedding is the output head too and is written once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.engine import model_card
from trainer.engine.checkpoint import LoadedModel
from trainer.engine.model import GPT, NORM_EPSILON, ROPE_THETA
from trainer.engine.qwen3 import Written, weights
from trainer.engine.tokenization import END_OF_TEXT_ID, Tokenizer
from trainer.errors import StoreError
from trainer.inference.protocol import WeightType

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

ARCHITECTURE = "qwen3"
PRE_TOKENIZER = "gpt-2"
"""The name under which llama.cpp knows the pattern that separates our words."""

_OUTSIDE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
}
_IN_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_BLOCK_WEIGHT = re.compile(r"model\.layers\.(\d+)\.(.+)\.weight")
_Q8_0_BLOCK = 32


def write(loaded: LoadedModel, path: Path, title: str, weight_type: WeightType) -> Written:
    """Write a model and its tokenizer to a file.

    Args:
        title: what programs show as the model's name.
        weight_type: of the matrices; norms are float32 always. Rows that a block of ``q8_0`` does
            not divide are float16.

    Raises:
        StoreError: the file cannot be written.
    """
    from gguf import GGUFWriter

    try:
        writer = GGUFWriter(path, ARCHITECTURE)
        parameters = _add_weights(writer, loaded.model, weight_type)
        _add_facts(writer, loaded, title, weight_type)
        _add_sizes(writer, loaded.model)
        _add_tokenizer(writer, loaded.tokenizer)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return Written(parameters, path.stat().st_size)
    except OSError as error:
        raise StoreError(
            f"The model cannot be written to {path.parent}: {error.strerror or error}.",
            "Check free space and permissions, or choose another place.",
        ) from error


def tensor_name(name: str) -> str:
    """Return the name that a weight of ``Qwen3ForCausalLM`` has in a GGUF file.

    Raises:
        KeyError: it has none.
    """
    found = _BLOCK_WEIGHT.fullmatch(name)
    return _OUTSIDE[name] if found is None else f"blk.{found[1]}.{_IN_BLOCK[found[2]]}.weight"


def _add_weights(writer: GGUFWriter, model: GPT, weight_type: WeightType) -> int:
    from gguf import quants

    parameters = 0
    for name, tensor in weights(model).items():
        values = tensor.numpy()
        kind = stored_as(values.shape, weight_type)
        writer.add_tensor(tensor_name(name), quants.quantize(values, kind), raw_dtype=kind)
        parameters += values.size
    return parameters


def stored_as(shape: tuple[int, ...], weight_type: WeightType) -> GGMLQuantizationType:
    """Return the number format in which a weight of this shape is written."""
    from gguf import GGMLQuantizationType as Kind

    if len(shape) == 1 or weight_type == "f32":
        return Kind.F32
    if weight_type == "f16" or shape[-1] % _Q8_0_BLOCK:
        return Kind.F16
    return Kind.Q8_0


def _add_facts(
    writer: GGUFWriter, loaded: LoadedModel, title: str, weight_type: WeightType
) -> None:
    from gguf import LlamaFileType

    kinds = {
        "f32": LlamaFileType.ALL_F32,
        "f16": LlamaFileType.MOSTLY_F16,
        "q8_0": LlamaFileType.MOSTLY_Q8_0,
    }
    writer.add_type("model")
    writer.add_name(title)
    writer.add_description(model_card.sentence(loaded.payload))
    writer.add_license(model_card.licence(loaded.payload).words)
    writer.add_file_type(kinds[weight_type])
    writer.add_quantization_version(2)


def _add_sizes(writer: GGUFWriter, model: GPT) -> None:
    shape = model.shape
    writer.add_vocab_size(model.vocab_size)
    writer.add_context_length(model.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_layer_norm_rms_eps(NORM_EPSILON)
    writer.add_rope_freq_base(ROPE_THETA)


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer) -> None:
    from gguf import TokenType

    document = json.loads(tokenizer.to_json())
    added = {token["id"]: token for token in document["added_tokens"]}
    names = {number: name for name, number in document["model"]["vocab"].items()}
    names |= {number: token["content"] for number, token in added.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([names[number] for number in range(tokenizer.vocab_size)])
    kinds = [TokenType.NORMAL] * tokenizer.vocab_size
    for number, token in added.items():
        # A control token is never read out of a text, a token of the user's always is.
        kinds[number] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
    writer.add_token_types(kinds)
    writer.add_token_merges(list(_merges(document["model"]["merges"])))
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_pad_token_id):
        add(END_OF_TEXT_ID)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def _merges(stored: list[Any]) -> Iterator[str]:
    """Write each merge as the two parts with a blank between, whichever way it was stored."""
    for merge in stored:
        yield merge if isinstance(merge, str) else " ".join(merge)
