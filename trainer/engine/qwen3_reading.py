"""A folder of dense Qwen3, as :mod:`trainer.engine.qwen3` or ``transformers`` writes it, read back.

Only what computes the very same as our model is taken; anything else is refused with what was
found and what was expected. Weights come from safetensors alone: a pickle can run programs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import tokenizers
import torch
from safetensors.torch import load_file
from torch import Tensor

from trainer import config as configuration
from trainer.config import Layer, ModelShape
from trainer.engine.checkpoint import refuse_spoilt
from trainer.engine.model import GPT, NORM_EPSILON, ROPE_THETA
from trainer.engine.qwen3 import weight_name
from trainer.engine.tokenization import END_OF_TEXT, END_OF_TEXT_ID, Tokenizer
from trainer.errors import CheckpointError

ARCHITECTURE = "Qwen3ForCausalLM"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_HEAD = "lm_head.weight"
_EMBEDDING = "model.embed_tokens.weight"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
_MOST_NAMED = 3
_HINT = (
    "Only dense Qwen3 with a byte-level BPE tokenizer can be imported, as 'export --format hf' "
    "writes it."
)


class _Config(msgspec.Struct):
    """The part of ``config.json`` that decides what a model computes.

    A field that may be missing has the default of ``Qwen3Config``.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    head_dim: int = 128
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    use_sliding_window: bool = False
    layer_types: list[str] | None = None
    rope_theta: float | None = None
    rope_scaling: Any = None
    rope_parameters: dict[str, Any] | None = None
    quantization_config: Any = None
    architectures: list[str] | None = None


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


@dataclass(frozen=True)
class Read:
    """What a folder holds: sizes, weights under our names as float32, and the tokenizer.

    ``settings`` are the sizes again, by ``section.key``.
    ``weights_sha256`` is of the files with the weights, one after the other.
    """

    shape: ModelShape
    vocab_size: int
    context: int
    settings: dict[str, Any]
    weights: dict[str, Tensor]
    tokenizer: Tokenizer
    weights_sha256: str


def read(folder: Path) -> Read:
    """Read a folder.

    Raises:
        CheckpointError: it holds something else, or is damaged; says what was found.
        ConfigurationError: a size is out of range.
        SpoiltWeightsError: a weight is not finite.
    """
    config = _read_config(folder)
    shape = _shape(config)
    settings = _settings(config, shape)
    configuration.build(Layer("config.json", settings))  # Sizes that are too large end here.
    tokenizer = _read_tokenizer(folder)
    if tokenizer.vocab_size != config.vocab_size:
        raise _unlike(
            "tokenizer.json",
            f"{tokenizer.vocab_size:,} entries",
            f"{config.vocab_size:,}, the vocab_size of config.json",
        )
    files = _weight_files(folder)
    weights = _weights(files, shape, config)
    refuse_spoilt(weights, f"The model in {folder.name} cannot be imported", "Export it again.")
    digest = _digest(files)
    context = config.max_position_embeddings
    return Read(shape, config.vocab_size, context, settings, weights, tokenizer, digest)


def _unlike(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(
        f"This model cannot be imported: {where} has {found}, and expected is {expected}.", _HINT
    )


def _damaged(name: str, why: str) -> CheckpointError:
    return CheckpointError(f"This model cannot be imported: {name} {why}.", _HINT)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _damaged(f"there is no {path.name}", f"in {path.parent}") from None
    except OSError as error:
        raise _damaged(path.name, f"cannot be read: {error.strerror}") from error


# ---------------------------------------------------------------------- config.json


def _read_config(folder: Path) -> _Config:
    content = _content(folder / "config.json")
    try:
        kind = msgspec.json.decode(content, type=dict[str, Any]).get("model_type")
        if kind != "qwen3":
            raise _unlike("config.json", f"model_type = {_shown(kind)}", '"qwen3"')
        config = msgspec.json.decode(content, type=_Config)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged("config.json", f"cannot be used: {error}") from error
    for name, found, expected in _computing(config):
        if found != expected:
            raise _unlike("config.json", f"{name} = {_shown(found)}", _shown(expected))
    return config


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _computing(config: _Config) -> Iterator[tuple[str, Any, Any]]:
    """Yield each setting that changes what is computed: its name, its value and ours."""
    rope = config.rope_parameters or {}
    theta = rope.get("rope_theta", config.rope_theta)
    yield "architectures", config.architectures or [ARCHITECTURE], [ARCHITECTURE]
    yield "tie_word_embeddings", config.tie_word_embeddings, True
    yield "attention_bias", config.attention_bias, False
    yield "use_sliding_window", config.use_sliding_window, False
    yield "layer_types", sorted(set(config.layer_types or ["full_attention"])), ["full_attention"]
    yield "hidden_act", config.hidden_act, "silu"
    yield "rms_norm_eps", config.rms_norm_eps, NORM_EPSILON
    yield "rope_theta", ROPE_THETA if theta is None else theta, ROPE_THETA
    yield "rope_scaling", config.rope_scaling or None, None
    yield "rope_parameters.rope_type", rope.get("rope_type", "default"), "default"
    yield "quantization_config", config.quantization_config, None
    width = config.num_attention_heads * config.head_dim
    yield "num_attention_heads * head_dim", width, config.hidden_size


def _shape(config: _Config) -> ModelShape:
    return ModelShape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        hidden=config.intermediate_size,
    )


def _settings(config: _Config, shape: ModelShape) -> dict[str, Any]:
    return {f"model.{name}": value for name, value in asdict(shape).items()} | {
        "data.vocab_size": config.vocab_size,
        "training.seq_length": config.max_position_embeddings,
    }


# ---------------------------------------------------------------------- tokenizer.json


def _read_tokenizer(folder: Path) -> Tokenizer:
    try:
        document = msgspec.json.decode(_content(folder / "tokenizer.json"), type=dict[str, Any])
        model = msgspec.convert(document.get("model"), dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged("tokenizer.json", f"cannot be used: {error}") from error
    for name, found, expected in _tokenizing(document, model):
        if found != expected:
            raise _unlike("tokenizer.json", f"{name} = {_shown(found)}", _shown(expected))
    bare = document | {"post_processor": None, "truncation": None, "padding": None}
    return _built(json.dumps(bare))


def _tokenizing(
    document: Mapping[str, Any], model: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Yield each part that changes which tokens a text makes: its name, what it is, and ours."""
    before, after = _part(document, "pre_tokenizer"), _part(document, "post_processor")
    yield "model.type", model.get("type"), "BPE"
    for name in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        yield f"model.{name}", model.get(name) or None, None
    for name in ("byte_fallback", "ignore_merges"):
        yield f"model.{name}", bool(model.get(name)), False
    yield "normalizer", document.get("normalizer"), None
    yield "pre_tokenizer.type", before.get("type"), "ByteLevel"
    yield "pre_tokenizer.add_prefix_space", before.get("add_prefix_space"), False
    yield "pre_tokenizer.use_regex", before.get("use_regex", True), True
    yield "decoder.type", _part(document, "decoder").get("type"), "ByteLevel"
    yield "post_processor.special_tokens", after.get("special_tokens") or {}, {}
    yield from _added(document.get("added_tokens"))


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _added(tokens: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield what is asked of added tokens: one end-of-text mark, and others as plain text."""
    listed = [token for token in tokens or [] if isinstance(token, dict)]
    special = [[token.get("id"), token.get("content")] for token in listed if token.get("special")]
    yield "special tokens", special, [[END_OF_TEXT_ID, END_OF_TEXT]]
    for token in listed:
        for name in ("single_word", "lstrip", "rstrip"):
            yield f"added_tokens: {name} of {token.get('content')!r}", bool(token.get(name)), False


def _built(text: str) -> Tokenizer:
    """Build a tokenizer, spelled as one that was trained here; every byte must be a token."""
    try:
        tokenizer = Tokenizer(tokenizers.Tokenizer.from_str(text).to_str())
        known = {tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)}
    # The library raises plain Exception for a text that is no tokenizer.
    except Exception as error:
        raise _damaged("tokenizer.json", f"cannot be used: {error}") from error
    missing = sum(bytes([byte]) not in known for byte in range(256))
    if missing:
        raise _unlike("tokenizer.json", f"no token for {missing} of the 256 bytes", "one for each")
    return tokenizer


# ---------------------------------------------------------------------- weights


def _weight_files(folder: Path) -> list[Path]:
    """Return the files with the weights: one, or the parts that an index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise _no_weights(folder)
    try:
        index = msgspec.json.decode(_content(folder / INDEX), type=_Index)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(INDEX, f"cannot be used: {error}") from error
    names = sorted(set(index.weight_map.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise _unlike(INDEX, f"the file {_shown(name)}", "a safetensors file beside it")
        if not (folder / name).is_file():
            raise _damaged(f"there is no {name}", f"in {folder}, which {INDEX} names")
    return [folder / name for name in names]


def _no_weights(folder: Path) -> CheckpointError:
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if not pickled:
        return _damaged(f"there is no {WEIGHTS}", f"in {folder}")
    return CheckpointError(
        f"This model cannot be imported: its weights are pickled ({pickled[0]}), and a pickle can "
        "run programs.",
        f"Only safetensors is read: save the model again so that it has a {WEIGHTS}.",
    )


def _weights(files: list[Path], shape: ModelShape, config: _Config) -> dict[str, Tensor]:
    found = _loaded(files)
    _refuse_other_head(found)
    with torch.device("meta"):
        ours = GPT(shape, config.vocab_size, 1).state_dict()
    wanted = {weight_name(name): (name, tuple(weight.shape)) for name, weight in ours.items()}
    _refuse_other_names(found.keys() - wanted.keys(), "is not of dense Qwen3", "it holds")
    _refuse_other_names(wanted.keys() - found.keys(), "is missing", "it lacks")
    for name, (_, size) in wanted.items():
        if tuple(found[name].shape) != size:
            raise _unlike(
                f"the weight {name}", f"the shape {list(found[name].shape)}", str([*size])
            )
        if found[name].dtype not in _FLOATS:
            kind = str(found[name].dtype).removeprefix("torch.")
            raise _unlike(f"the weight {name}", f"the type {kind}", "float32, float16 or bfloat16")
    return {ours: found[name].float() for name, (ours, _) in wanted.items()}


def _loaded(files: list[Path]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in files:
        try:
            found |= load_file(path)
        except (safetensors.SafetensorError, OSError) as error:
            raise _damaged(path.name, f"is damaged: {error}") from error
    return found


def _refuse_other_head(found: dict[str, Tensor]) -> None:
    """Take out an output head that repeats the embedding; refuse one of its own."""
    head = found.pop(_HEAD, None)
    if head is not None and not torch.equal(head, found.get(_EMBEDDING, head.new_empty(0))):
        raise _unlike(_HEAD, "values of its own", f"those of {_EMBEDDING}, or none")


def _refuse_other_names(names: set[str], what: str, verb: str) -> None:
    if not names:
        return
    shown = ", ".join(sorted(names)[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    raise CheckpointError(
        f"This model cannot be imported: a weight {what}; {verb} {shown}{more}.", _HINT
    )


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
