"""What a dry run finds out, on a very small configuration, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.texts import tiny_config, write_text
from trainer import config as configuration
from trainer.config import ModelShape
from trainer.engine import estimate
from trainer.engine.peak_memory import peak_bytes, resident_peak_bytes
from trainer.engine.step import take_step


@pytest.fixture(autouse=True)
def _short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "_ENOUGH_STEPS", 1)


@pytest.fixture
def answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Call the module for a text and settings: the exit status and all that it printed."""
    text = write_text(tmp_path / "text.txt")

    def ask(*pairs: str) -> tuple[int, list[dict[str, Any]]]:
        folder = tmp_path / "scratch"
        folder.mkdir(exist_ok=True)
        config = configuration.resolved(tiny_config(text, *pairs))
        (folder / "config.toml").write_text(configuration.to_toml(config))
        status = estimate.main(["--folder", str(folder), "--data", str(tmp_path / "data")])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return ask


def finished(ask: Any, *pairs: str) -> dict[str, Any]:
    """Ask until the token files are there."""
    status, printed = ask(*pairs)
    if "tokenized" in printed[-1]:
        status, printed = ask(*pairs)
    assert status == 0
    found: dict[str, Any] = printed[-1]["estimate"]
    return found


def test_sizes_are_exact(answers: Any) -> None:
    found = finished(answers, "training.epochs=3", "training.max_steps=null")
    shape = ModelShape(layers=1, width=32, heads=2, kv_heads=2, hidden=128)
    assert found["parameters"] == shape.parameters(300)
    assert found["steps"] == 3 * found["steps_per_epoch"]
    assert found["tokens"] == found["steps"] * 4 * 32
    assert (found["epochs"], found["evaluations"], found["tokens_known"]) == (3, 3, True)
    assert (found["device"], found["precision"], found["compile"]) == ("cpu", "off", False)


def test_the_whole_time_is_that_of_its_parts(answers: Any) -> None:
    found = finished(answers, "evaluation.every_steps=5")
    parts = found["seconds"]
    pauses = found["evaluations"] * (parts["evaluation"] + parts["samples_and_checkpoint"])
    assert found["evaluations"] == 3
    assert found["estimated_seconds"] == pytest.approx(
        parts["starting"]
        + parts["compiling"]
        + 12 * parts["step"]
        + pauses
        + parts["last_checkpoint"]
    )
    assert found["tokens_per_second"] == pytest.approx(4 * 32 / parts["step"])
    assert found["estimated_memory_bytes"] > 50_000_000


def test_of_many_micro_batches_only_a_few_are_done(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[int] = []

    def counting(job: Any, trainee: Any, step: int, micro_batches: Any) -> torch.Tensor:
        done.append(len(micro_batches))
        return take_step(job, trainee, step, micro_batches)

    monkeypatch.setattr(estimate, "take_step", counting)
    found = finished(answers, "training.grad_accum_steps=40", "training.batch_size=1")
    assert done == [3, 3, 1]
    assert found["tokens"] == found["steps"] * 40 * 32


def test_text_that_cannot_be_used_is_told_as_the_run_would(answers: Any) -> None:
    status, printed = answers("training.batch_size=60000")
    assert status == 1
    assert printed[-1]["error"]["kind"] == "data"
    assert "training.batch_size" in printed[-1]["error"]["message"]


def test_a_configuration_too_large_for_memory_is_told(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate 80 GiB")

    monkeypatch.setattr(estimate, "set_up", exhaust)
    status, printed = answers()
    assert status == 1
    assert printed[-1]["error"]["message"] == (
        "There is not enough memory for this configuration: tried to allocate 80 GiB"
    )


def test_the_resident_peak_is_read_from_linux(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t  900 kB\nVmHWM:\t    321 kB\nVmRSS:\t     99 kB\n")
    assert resident_peak_bytes(status) == 321 * 1024


def test_without_proc_the_peak_comes_from_the_system(tmp_path: Path) -> None:
    assert resident_peak_bytes(tmp_path / "missing") > 10_000_000


def test_on_a_gpu_the_peak_is_what_torch_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7 << 30)
    assert peak_bytes(torch.device("cuda:0")) == 7 << 30
