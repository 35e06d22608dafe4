"""``train --dry-run``: an estimate, and no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.texts import TINY
from trainer.cli.estimating import estimate_lines
from trainer.foresight import estimates

FOUND: estimates.Estimate = {
    "parameters": 2_558_144,
    "dataset": "WikiText-2 (raw)",
    "tokens": 798_720,
    "tokens_known": True,
    "steps": 390,
    "steps_per_epoch": 1_300,
    "epochs": 2,
    "evaluations": 3,
    "estimated_seconds": 200.0,
    "estimated_memory_bytes": 700 << 20,
    "tokens_per_second": 6_144.0,
    "device": "cpu",
    "device_name": "Some CPU",
    "precision": "bf16",
    "compile": True,
    "warnings": [],
    "notices": ["The text supports a vocabulary of 325 entries, not data.vocab_size = 4,096."],
    "seconds": {
        "starting": 4.0,
        "compiling": 15.0,
        "step": 0.3333,
        "evaluation": 15.0,
        "samples_and_checkpoint": 2.0,
    },
}


def test_the_estimate_in_words() -> None:
    assert estimate_lines(FOUND, 100) == [
        "No run was made. It would take about:",
        *(
            f"\x1b[2m  {label:<6}  \x1b[0m{text}"
            for label, text in [
                (
                    "time",
                    "3 min 20 s (starting 4 s, compiling 15 s, steps 2 min 10 s, "
                    "3 evaluations 51 s)",
                ),
                ("memory", "700.0 MiB for the training process"),
                ("model", "2.56 M parameters"),
                ("tokens", "799 k to train on, of WikiText-2 (raw)"),
                ("steps", "390 (1,300 an epoch, 0.30 epochs)"),
                ("speed", "6,144 tok/s, precision bf16, compiled"),
                ("device", "cpu (Some CPU)"),
            ]
        ),
        "The text supports a vocabulary of 325 entries, not data.vocab_size = 4,096.",
    ]


def test_on_a_gpu_and_eager_the_words_say_so() -> None:
    text = "\n".join(estimate_lines(FOUND | {"device": "cuda:0", "compile": False}, 100))
    assert "700.0 MiB of the GPU" in text
    assert "bf16, not compiled" in text
    assert "compiling" not in text


def test_a_dry_run_prints_one_document_and_makes_no_run(
    call: Call, home: Path, text_file: Path
) -> None:
    settings = [f"data.dataset_name={text_file}", *TINY]
    arguments = [word for pair in settings for word in ("--set", pair)]
    answer = call("train", "--dry-run", "--json", "--name", "tried", *arguments)
    assert answer.status == 0, answer.err
    assert answer.json["steps"] == 12
    assert answer.json["tokens"] == 12 * 4 * 32
    assert answer.json["estimated_seconds"] > 0.0
    assert answer.json["estimated_memory_bytes"] > 50_000_000
    assert "measuring" in answer.err or "timing steps" in answer.err
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "training.epochs=0"], "training.epochs = 0"),
        (["--set", "data.dataset_name=./nowhere.txt"], "nowhere.txt"),
        (["--tag", " x"], "begins or ends with a space"),
    ],
)
def test_what_train_refuses_a_dry_run_refuses_alike(
    call: Call, home: Path, options: list[str], words: str
) -> None:
    wet, dry = call("train", *options), call("train", "--dry-run", *options)
    assert (dry.status, dry.out, dry.err) == (2, "", wet.err)
    assert words in dry.err
    assert not (home / "runs").exists()
