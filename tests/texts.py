"""Real English for small trainings: the help texts that every Python carries."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Config, assignments, build

TINY = (
    "data.vocab_size=300",
    "model.layers=1",
    "model.width=32",
    "model.heads=2",
    "training.seq_length=32",
    "training.batch_size=4",
    "training.epochs=1",
    "training.max_steps=12",
    "training.compile=off",
    "training.precision=off",
    "evaluation.prompts=['The']",
    "evaluation.sample_tokens=4",
    "device.preference=cpu",
)
"""Settings under which a training takes a second or two."""


def write_text(path: Path, characters: int = 60_000) -> Path:
    """Write real English to a file and return its path."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))[:characters]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def tiny_config(text: Path, *pairs: str) -> Config:
    """Return a configuration that trains a very small model on a text file."""
    return build(assignments([*TINY, f"data.dataset_name={text}", *pairs]))
