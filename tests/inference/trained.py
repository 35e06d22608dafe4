"""A checkpoint of an untrained but real model, to ask the processes that hold models about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.texts import tiny_config, write_text
from trainer.config import Config, ModelShape, as_flat, model_shape
from trainer.engine import checkpoint, corpus, tokenization
from trainer.engine.model import GPT


@dataclass(frozen=True)
class Trained:
    """A checkpoint of an untrained but real model, with its text and its token files."""

    config: Config
    checkpoint: Path
    data_dir: Path
    text: Path


def make_trained(folder: Path) -> Trained:
    """Write a text and the checkpoint of a model with its vocabulary into a folder."""
    text = write_text(folder / "text.txt", 20_000)
    config = tiny_config(text)
    made = Trained(config, folder / "latest.pt", folder / "data", text)
    checkpoint.save(made.checkpoint, payload_of(made, seed=1))
    return made


def payload_of(made: Trained, seed: int) -> dict[str, Any]:
    words = corpus.load(made.config.data, made.data_dir / "datasets", lambda _: None)
    tokens = tokenization.prepare(words, made.config.data, made.data_dir, lambda _: None)
    shape: ModelShape = model_shape(made.config.model)
    torch.manual_seed(seed)
    model = GPT(shape, tokens.tokenizer.vocab_size, made.config.training.seq_length)
    flat = as_flat(made.config)
    return {
        "model": model.state_dict(),
        "optimizer": {},
        "config": {key: list(v) if isinstance(v, tuple) else v for key, v in flat.items()},
        "shape": {name: getattr(shape, name) for name in shape.__dataclass_fields__},
        "vocab_size": tokens.tokenizer.vocab_size,
        "context": made.config.training.seq_length,
        "tokenizer": tokens.tokenizer.to_json(),
        "corpus_key": tokens.key,
        "segments": [],
        "step": seed,
        "epoch": 1,
    }
