"""A folder of dense Qwen3 as a checkpoint: bit for bit, or refused with what was found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from tests.engine.bench import Bench
from tests.engine.models import SHAPE, TOKENIZER, small_model
from trainer.config import DataSettings, Layer, as_flat, build
from trainer.datafiles import DatasetNameError
from trainer.engine import checkpoint, qwen3
from trainer.engine.adopting import adopt
from trainer.engine.checkpoint import LoadedModel, SpoiltWeightsError
from trainer.engine.reopening import reopen
from trainer.errors import CheckpointError, ConfigurationError, TrainerError, UsageError

CONTEXT = 16
KEY = "0123456789abcdef01234567"


@pytest.fixture
def loaded() -> LoadedModel:
    values = {"data.dataset_name": "python-docs", "training.learning_rate": 0.5}
    stored = as_flat(build(Layer("test", values)))
    return small_model(CONTEXT, config=stored, corpus_key=KEY, evaluated_step=1200)


@pytest.fixture
def folder(loaded: LoadedModel, tmp_path: Path) -> Path:
    folder = tmp_path / "mats"
    folder.mkdir()
    qwen3.write(loaded, folder, "Mats", "run-1")
    return folder


def adopted(folder: Path, **chosen: Any) -> tuple[dict[str, Any], Path]:
    """Import a folder; return what is told of it, and the checkpoint."""
    path = folder.parent / "checkpoints" / "latest.pt"
    path.parent.mkdir(exist_ok=True)
    values = {key.replace("__", "."): value for key, value in chosen.items()}
    return adopt(folder, path, values, {}, lambda _: None), path


def edit(folder: Path, name: str, **values: Any) -> None:
    """Change fields of a JSON file; ``a__b`` is the field b of a."""
    document = json.loads((folder / name).read_text())
    for key, value in values.items():
        outer, _, inner = key.partition("__")
        (document[outer] if inner else document)[inner or outer] = value
    (folder / name).write_text(json.dumps(document))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, folder / "model.safetensors")


# ---------------------------------------------------------------------- there and back


def test_weights_and_tokenizer_come_back_bit_for_bit(folder: Path, loaded: LoadedModel) -> None:
    _, path = adopted(folder)
    back = checkpoint.load_model(path, torch.device("cpu"))
    ours = loaded.model.state_dict()
    assert ours.keys() == back.model.state_dict().keys()
    assert all(torch.equal(ours[name], there) for name, there in back.model.state_dict().items())
    assert back.tokenizer.to_json() == TOKENIZER.to_json()


def test_figures_settings_and_text_come_back(folder: Path) -> None:
    told, path = adopted(folder, training__batch_size=2)
    config = told["config"]
    assert config["data.dataset_name"] == "python-docs"
    assert (config["training.learning_rate"], config["training.batch_size"]) == (0.5, 2)
    assert (config["training.seq_length"], config["training.context_ramp"]) == (CONTEXT, 0.0)
    assert (told["dataset"], told["val_loss"]) == ("mats", 3.5)
    assert told["told"].endswith("), trained before for 1,200 steps on mats")
    saved = checkpoint.load(path)
    assert (saved["step"], saved["corpus_key"], saved["optimizer"]) == (0, KEY, {})
    assert checkpoint.load(path.with_name("best.pt"))["val_loss"] == 3.5


def test_figures_of_other_weights_are_not_taken_over(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors["model.norm.weight"].add_(1))
    told, path = adopted(folder)
    assert (told["dataset"], told["val_loss"]) == ("mats", None)
    assert not path.with_name("best.pt").exists()


def test_another_text_takes_neither_figures_nor_the_old_tokens(folder: Path) -> None:
    told, path = adopted(folder, data__dataset_name="wikitext-2")
    assert (told["dataset"], told["val_loss"]) == (None, None)
    assert checkpoint.load(path)["corpus_key"] == ""


def test_what_transformers_saves_again_is_the_same_model(
    folder: Path, loaded: LoadedModel, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    transformers.AutoModelForCausalLM.from_pretrained(folder).save_pretrained(again)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(again)
    told, path = adopted(again)
    back = checkpoint.load_model(path, torch.device("cpu"))
    assert torch.equal(back.model.embedding.weight, loaded.model.embedding.weight)
    assert back.tokenizer.to_json() == TOKENIZER.to_json()
    assert (told["config"]["data.dataset_name"], told["dataset"]) == ("unknown", None)


def test_half_precision_parts_of_several_files_are_read(folder: Path, loaded: LoadedModel) -> None:
    other = transformers.AutoModelForCausalLM.from_pretrained(folder).to(torch.bfloat16)
    (folder / "model.safetensors").unlink()
    other.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    _, path = adopted(folder)
    found = checkpoint.load(path)["model"]["blocks.1.mlp.up.weight"]
    wanted = loaded.model.state_dict()["blocks.1.mlp.up.weight"].bfloat16().float()
    assert torch.equal(found, wanted)


def test_a_run_goes_on_from_it(folder: Path, bench: Bench) -> None:
    run = bench.new(f"model.layers={SHAPE.layers}", "training.seq_length=16")
    run.paths.checkpoints.mkdir(parents=True)
    chosen = {
        "data.dataset_name": str(bench.text),
        "training.batch_size": 4,
        "training.max_steps": 3,
        "training.compile": "off",
        "training.precision": "off",
        "evaluation.prompts": [],
        "device.preference": "cpu",
    }
    told = adopt(folder, run.paths.checkpoint("latest"), chosen, {}, lambda _: None)
    bench.adopt_config(run, told["config"])
    assert bench.train(run, source="latest") == "completed"
    assert len(bench.losses(run)) == 3
    saved = checkpoint.load(run.paths.checkpoint("latest"))
    assert (saved["step"], saved["tokenizer"]) == (3, TOKENIZER.to_json())
    assert saved["optimizer"]
    assert saved["standing"]["imported_from"].startswith("imported from mats")
    shutil.rmtree(bench.store.workspace.data_dir)
    bench.train(run, source="latest")  # Its tokens are made again, with its own tokenizer.


def test_without_a_text_it_is_neither_judged_nor_trained_on(folder: Path, tmp_path: Path) -> None:
    (folder / "llm-trainer.json").unlink()
    told, path = adopted(folder)
    data = DataSettings(dataset_name=told["config"]["data.dataset_name"])
    with pytest.raises(DatasetNameError, match="not known: it was imported without one"):
        reopen(checkpoint.load(path), data, tmp_path / "data", lambda _: None)


# ---------------------------------------------------------------------- refusals


CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"model_type": "llama"}, 'model_type = "llama", and expected is "qwen3"'),
    ({"architectures": ["Qwen3Model"]}, "architectures"),
    ({"attention_bias": True}, "attention_bias = true, and expected is false"),
    ({"use_sliding_window": True}, "use_sliding_window"),
    ({"layer_types": ["sliding_attention"] * 2}, "layer_types"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings"),
    ({"hidden_act": "gelu"}, 'hidden_act = "gelu"'),
    ({"rms_norm_eps": 1e-5}, "rms_norm_eps = 1e-05, and expected is 1e-06"),
    ({"rope_parameters__rope_theta": 1e6}, "rope_theta = 1000000.0, and expected is 10000.0"),
    ({"rope_parameters__rope_type": "yarn"}, "rope_type"),
    ({"rope_scaling": {"factor": 2}}, "rope_scaling"),
    ({"quantization_config": {"bits": 4}}, "quantization_config"),
    ({"head_dim": 16}, "num_attention_heads * head_dim = 64, and expected is 32"),
    ({"hidden_size": "32"}, "config.json cannot be used"),
    ({"vocab_size": 300}, "tokenizer.json has 269 entries, and expected is 300"),
    ({"num_hidden_layers": 3}, "a weight is missing; it lacks model.layers.2"),
    ({"num_hidden_layers": 1}, "is not of dense Qwen3; it holds model.layers.1"),
    ({"intermediate_size": 64}, "has the shape [48, 32], and expected is [64, 32]"),
]


@pytest.mark.parametrize(("values", "words"), CONFIGS)
def test_another_architecture_is_refused(folder: Path, values: dict[str, Any], words: str) -> None:
    edit(folder, "config.json", **values)
    refused(folder, CheckpointError, words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"vocab_size": 70_000}, "data.vocab_size = 70000"),
        ({"max_position_embeddings": 40_960}, "training.seq_length = 40960"),
        ({"num_key_value_heads": 3}, "model.kv_heads"),
        ({"hidden_size": 64, "head_dim": 16, "num_hidden_layers": 1000}, "model.layers = 1000"),
    ],
)
def test_a_size_out_of_range_is_refused(folder: Path, values: dict[str, Any], words: str) -> None:
    edit(folder, "config.json", **values)
    refused(folder, ConfigurationError, words)


TOKENIZERS: list[tuple[dict[str, Any], str]] = [
    ({"model__type": "WordPiece"}, 'model.type = "WordPiece", and expected is "BPE"'),
    ({"model__byte_fallback": True}, "byte_fallback"),
    ({"normalizer": {"type": "NFC"}}, "normalizer"),
    ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer.type"),
    ({"pre_tokenizer__add_prefix_space": True}, "add_prefix_space"),
    ({"decoder": None}, "decoder.type"),
    ({"post_processor": {"special_tokens": {"[CLS]": {}}}}, "post_processor"),
    ({"added_tokens": []}, "special tokens = []"),
    ({"model": None}, "tokenizer.json cannot be used"),
    ({"model__vocab": {"a": 1}, "model__merges": []}, "no token for 255 of the 256 bytes"),
]


@pytest.mark.parametrize(("values", "words"), TOKENIZERS)
def test_another_kind_of_tokenizer_is_refused(
    folder: Path, values: dict[str, Any], words: str
) -> None:
    edit(folder, "tokenizer.json", **values)
    refused(folder, CheckpointError, words)


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 1}))
    refused(folder, CheckpointError, "lm_head.weight has values of its own")
    edit_weights(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 0}))
    adopted(folder)
    edit_weights(folder, lambda t: t.update({"model.norm.bias": torch.zeros(32)}))
    refused(folder, CheckpointError, "it holds model.norm.bias")


def test_numbers_that_are_not_finite_or_no_floats_are_refused(folder: Path) -> None:
    edit_weights(folder, lambda t: t["model.norm.weight"].fill_(torch.nan))
    refused(folder, SpoiltWeightsError, "norm.weight holds values that are not finite")
    edit_weights(folder, lambda t: t.update({"model.norm.weight": torch.zeros(32).long()}))
    refused(folder, CheckpointError, "has the type int64, and expected is float32")


def test_damaged_and_missing_files_are_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    refused(folder, CheckpointError, "model.safetensors is damaged")
    (folder / "model.safetensors").unlink()
    refused(folder, CheckpointError, "there is no model.safetensors")
    (folder / "config.json").write_text("{")
    refused(folder, CheckpointError, "config.json cannot be used")
    (folder / "config.json").unlink()
    refused(folder, CheckpointError, "there is no config.json")


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    refused(folder, CheckpointError, "its weights are pickled (pytorch_model.bin)")


def test_an_index_leads_to_no_other_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"a": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, CheckpointError, "a safetensors file beside it")


def test_settings_that_contradict_the_model_are_refused(folder: Path) -> None:
    for chosen, words in (
        ({"model.width": 64}, "The sizes of an imported model are its own"),
        ({"model.preset": "small"}, "The sizes of an imported model are its own"),
        ({"data.vocab_size": 300}, "data.vocab_size = 300 is not that of the model"),
        ({"training.seq_length": 32}, "is longer than the context of the model, 16"),
    ):
        refused(folder, UsageError, words, chosen)


def test_what_cannot_be_read_of_its_training_is_told(folder: Path) -> None:
    (folder / "llm-trainer.json").write_text("{")
    told, _ = adopted(folder)
    assert told["dataset"] is None
    (notice,) = told["notices"]
    assert notice.startswith("llm-trainer.json cannot be read")


def refused(
    folder: Path, kind: type[TrainerError], words: str, chosen: dict[str, Any] | None = None
) -> None:
    path = folder.parent / "refused" / "latest.pt"
    path.parent.mkdir(exist_ok=True)
    with pytest.raises(kind) as failure:
        adopt(folder, path, chosen or {}, {}, lambda _: None)
    assert words in failure.value.message
    assert list(path.parent.iterdir()) == []
