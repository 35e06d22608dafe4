"""A whole life of a small run through the command line, with a real worker and a real model."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from tests.cli.test_process import call

SMALL = {
    "data.vocab_size": "300",
    "model.layers": "1",
    "model.width": "16",
    "model.heads": "2",
    "training.seq_length": "16",
    "training.batch_size": "4",
    "training.epochs": "1",
    "training.max_steps": "3",
    "training.compile": "off",
    "evaluation.sample_tokens": "4",
}


@pytest.fixture
def small(tmp_path: Path) -> list[str]:
    """The options that make a run of three steps."""
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog.\n" * 150)
    settings = {"data.dataset_name": str(text), **SMALL}
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def test_train_generate_evaluate_export_and_go_on(
    home: Path, tmp_path: Path, small: list[str]
) -> None:
    trained = call(home, "train", *small, "--device", "cpu", "--follow", "--json")
    assert trained.returncode == 0, trained.stderr.decode()
    run_id = json.loads(trained.stdout)["run_id"]
    assert f"Run {run_id} is complete: 3 steps" in trained.stderr.decode()

    state = json.loads(call(home, "status", "--run-id", "latest", "--json").stdout)
    assert (state["run_id"], state["status"], state["step"]) == (run_id, "completed", 3)

    options = ["--prompt", "The", "--max-new-tokens", "5", "--seed", "7", "--json"]
    written = json.loads(call(home, "generate", "--run-id", run_id, *options).stdout)
    assert (written["tokens"], written["seed"], written["finish_reason"]) == (5, 7, "length")

    scored = json.loads(call(home, "score", "--run-id", run_id, "--text", "a fox", "--json").stdout)
    assert (scored["words"], scored["bytes"]) == (2, 5)
    assert scored["perplexity"] == pytest.approx(math.exp(scored["loss"]))

    figures = json.loads(call(home, "eval", "--run-id", run_id, "--json").stdout)
    assert figures["split"] == "validation"
    assert figures["loss"] == pytest.approx(state["val_loss"], abs=1e-4)

    target = tmp_path / "curves.csv"
    call(home, "export", "--run-id", run_id, "--format", "csv", "--out", str(target))
    with target.open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)][-1] == 3

    exported = call(
        home, "export", "--run-id", run_id, "--format", "hf", "--out", str(tmp_path / "m")
    )
    assert exported.returncode == 0, exported.stderr.decode()
    assert json.loads((tmp_path / "m" / "config.json").read_text())["hidden_size"] == 16

    imported = call(home, "import", "hf", str(tmp_path / "m"), "--name", "again", "--json")
    assert imported.returncode == 0, imported.stderr.decode()
    back = json.loads(imported.stdout)["run_id"]
    again = json.loads(call(home, "generate", "--run-id", back, *options).stdout)
    assert again["text"] == written["text"]
    went_on = call(home, "resume", "--run-id", back, "--more-epochs", "1", "--follow")
    assert went_on.returncode == 0, went_on.stderr.decode()
    assert f"Run {back} is complete: {state['steps_per_epoch']} steps" in went_on.stdout.decode()

    refused = call(home, "resume", "--run-id", run_id)
    assert (refused.returncode, refused.stdout) == (4, b"")
    resumed = call(home, "resume", "--run-id", run_id, "--more-epochs", "1", "--follow")
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert f"Run {run_id} is complete: {3 + state['steps_per_epoch']} steps" in (
        resumed.stdout.decode()
    )
