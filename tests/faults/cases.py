"""Small trainings that differ in what a resume has to restore."""

from __future__ import annotations

from pathlib import Path

from tests.texts import tiny_config, write_text
from trainer.config import Config

_DROPOUT = "model.dropout=0.1"

CASES: dict[str, tuple[int, tuple[str, ...]]] = {
    "saving often": (60_000, ("training.max_steps=120", "checkpoint.every_steps=2")),
    "two loaders": (
        60_000,
        (
            "training.max_steps=90",
            "training.dataloader_workers=2",
            "training.grad_accum_steps=2",
            "checkpoint.every_steps=30",
        ),
    ),
    "evaluating often": (
        60_000,
        (
            "training.max_steps=60",
            "evaluation.every_steps=4",
            "evaluation.prompts=['The', 'It is']",
            "evaluation.sample_tokens=8",
        ),
    ),
    "many epochs": (
        6_000,
        ("training.max_steps=null", "training.epochs=5", "checkpoint.keep_last=2"),
    ),
    "growing context": (
        60_000,
        (
            "training.max_steps=60",
            "training.seq_length=256",
            "training.batch_size=2",
            "training.context_ramp=0.5",
            "training.grad_accum_steps=2",
            "checkpoint.every_steps=5",
            "evaluation.every_steps=8",
        ),
    ),
    "everything": (
        6_000,
        (
            "training.max_steps=30",
            "training.epochs=9",
            "training.dataloader_workers=2",
            "training.grad_accum_steps=2",
            "checkpoint.every_steps=2",
            "checkpoint.keep_last=1",
            "evaluation.every_steps=5",
        ),
    ),
    "growing worse": (
        6_000,
        (
            "training.max_steps=40",
            "training.epochs=9",
            "training.learning_rate=2.0",
            "training.final_lr_fraction=1.0",
            "training.warmup_fraction=0.5",
            "checkpoint.keep_last=9",
            "checkpoint.every_steps=2",
            "evaluation.every_steps=5",
        ),
    ),
}
"""By name: characters of the text, and settings. All train with dropout.

What grows worse is best after 5 steps and once more after 15.
"""


def case(name: str, folder: Path, *more: str) -> Config:
    """Return the configuration of a case, whose text lies in a folder, with more settings."""
    characters, settings = CASES[name]
    text = folder / f"text-{characters}.txt"
    if not text.exists():
        write_text(text, characters)
    return tiny_config(text, _DROPOUT, *settings, *more)
