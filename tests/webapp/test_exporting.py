"""The export page: every format, written into the workspace, and what stands there already."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from tests.webapp.conftest import Send
from tests.webapp.test_pages import with_checkpoint
from tests.webapp.test_run_page import words_of
from trainer.export_model import Exported
from trainer.runs import Run, RunStore
from webapp.pages import exporting


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return with_checkpoint(make_run(name="fox", points=3), "best", step=30)


def address(run: Run) -> str:
    return f"/runs/{run.run_id}/checkpoints/best/export"


def test_the_page_offers_every_format_and_its_command(web: FlaskClient, run: Run) -> None:
    words = words_of(web.get(address(run)).text)
    start = f"export --run-id {run.run_id} --format"
    assert f"{start} hf --checkpoint best --out my-model" in words
    assert f"{start} gguf --checkpoint best --weights f16 --out my-model.gguf" in words
    assert f"{start} csv --out curves.csv" in words
    assert f"{start} tensorboard --out boards/my-run" in words


def test_a_gguf_file_is_written_once_and_downloaded(
    web: FlaskClient, run: Run, send: Send, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = home / "exports" / f"{run.run_id}-best-at-30-q8_0.gguf"

    def write(_: RunStore, run_id: str, name: str, path: Path, weights: str) -> Exported:
        assert (run_id, name, path, weights) == (run.run_id, "best", target, "q8_0")
        path.write_bytes(b"GGUF")
        return Exported(path, 5_310_000, 4)

    monkeypatch.setattr(exporting, "export_gguf", write)
    download = f"/runs/{run.run_id}/checkpoints/best/q8_0.gguf"
    assert web.get(download).status_code == 404
    answer = send(address(run), format="gguf", weights="q8_0")
    assert answer.headers["Location"].endswith("/best/export#written")
    page = web.get(answer.headers["Location"]).text
    assert '<div class="message" id="written" tabindex="-1"' in page
    assert f"Wrote the model to {target}: 5.31 M parameters, 4 B." in words_of(page)
    assert f"Download {target.name} (4 B)" in words_of(page)
    assert '<option value="f32">' in page
    assert '<option value="q8_0">' not in page
    answer = web.get(download)
    assert answer.data == b"GGUF"
    assert target.name in answer.headers["Content-Disposition"]


def test_the_command_writes_what_is_offered_first(web: FlaskClient, run: Run, home: Path) -> None:
    (home / "exports").mkdir()
    (home / "exports" / f"{run.run_id}-best-at-30-f16.gguf").write_bytes(b"GGUF")
    page = web.get(address(run)).text
    assert '<span class="option">--weights</span> <span data-weights>q8_0</span>' in page


def test_the_curves_are_written_for_tensorboard(
    web: FlaskClient, run: Run, send: Send, home: Path
) -> None:
    folder = home / "exports" / f"{run.run_id}-curves-to-3"
    words = words_of(send(address(run), format="tensorboard", follow=True).text)
    assert f"Wrote 3 steps to {folder}." in words
    assert f"written to {folder} : open it with tensorboard --logdir" in words
    assert [path.suffix for path in folder.iterdir()] == [".llm-trainer"]


def test_what_there_is_not_is_refused(web: FlaskClient, run: Run, send: Send) -> None:
    for form, words in (
        ({"format": "onnx"}, "There are: hf, gguf, tensorboard."),
        ({"format": "gguf", "weights": "q4"}, "There are: f32, f16, q8_0."),
    ):
        answer = send(address(run), **form)
        assert answer.status_code == 400
        assert words in answer.text
    assert web.get(f"/runs/{run.run_id}/checkpoints/best/q4.gguf").status_code == 400
    assert web.get(f"/runs/{run.run_id}/checkpoints/latest/f16.gguf").status_code == 404


def test_damaged_metrics_leave_the_model_to_be_exported(web: FlaskClient, run: Run) -> None:
    run.paths.metrics.write_bytes(b"not a database" * 100)
    page = web.get(address(run)).text
    assert "Write the folder" in page
    assert "Write for TensorBoard" not in page
