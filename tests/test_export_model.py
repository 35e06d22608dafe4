"""A model's folder or file is there whole or not at all, and never in place of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeRun
from trainer.errors import CheckpointError, NotFoundError, StoreError, UsageError
from trainer.export_model import export_gguf, export_hf
from trainer.inference import client
from trainer.runs import Run, RunStore


@pytest.fixture
def run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run with a checkpoint, and a process that pretends to hold its model."""
    monkeypatch.setattr(client, "SERVICE_MODULE", "tests.cli.echo_service")
    run = make_run(run_id="a", name="Mats")
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()
    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_with_its_files(store: RunStore, run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    written = export_hf(store, run.run_id, "latest", out / "model")
    assert (written.path, written.parameters, written.bytes) == (out / "model", 3, 16)
    assert names(out) == ["model"]
    assert (out / "model" / "README.md").read_text() == "Mats (a, latest)"


def test_an_empty_folder_is_filled(store: RunStore, run: Run, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    export_hf(store, run.run_id, "latest", tmp_path / "link")
    assert names(tmp_path / "real") == ["README.md"]


def test_a_failure_leaves_nothing(store: RunStore, run: Run, tmp_path: Path) -> None:
    store.annotate(run.run_id, name="spoilt")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CheckpointError, match="It is damaged"):
        export_hf(store, run.run_id, "latest", out / "model")
    assert names(out) == []


def test_what_is_there_already_is_refused(store: RunStore, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for target, words in (
        (tmp_path, "is not empty"),
        (file, "is a file"),
        (tmp_path / "no" / "where", "no folder"),
        (Path("~no-such-user-here/x"), "cannot be found"),
    ):
        with pytest.raises(UsageError, match=words):
            export_hf(store, run.run_id, "latest", target)
    assert file.read_text() == "mine"


def test_a_folder_filled_meanwhile_is_not_overwritten(
    store: RunStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.export_model.check_folder_target", lambda _: None)
    target = tmp_path / "model"
    target.mkdir()
    (target / "mine").touch()
    with pytest.raises(StoreError, match="not empty"):
        export_hf(store, run.run_id, "latest", target)
    assert names(target) == ["mine"]


def test_only_checkpoints_there_are_can_be_exported(
    store: RunStore, run: Run, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no checkpoint 'best'"):
        export_hf(store, run.run_id, "best", tmp_path / "model")
    with pytest.raises(UsageError, match="'worst' is not a checkpoint"):
        export_hf(store, run.run_id, "worst", tmp_path / "model")
    with pytest.raises(NotFoundError):
        export_hf(store, "no-such-run", "latest", tmp_path / "model")


# ---------------------------------------------------------------------- one file


def test_a_file_gets_its_suffix_and_is_written_whole(
    store: RunStore, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for asked, there in (("model", "model.gguf"), ("v1.5", "v1.5.gguf"), ("B.GGUF", "B.GGUF")):
        written = export_gguf(store, run.run_id, "latest", out / asked, "q8_0")
        assert written.path == out / there
        assert written.path.read_text() == "q8_0 Mats (a, latest)"
    assert names(out) == ["B.GGUF", "model.gguf", "v1.5.gguf"]


def test_a_failure_leaves_no_file(store: RunStore, run: Run, tmp_path: Path) -> None:
    store.annotate(run.run_id, name="spoilt")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CheckpointError, match="It is damaged"):
        export_gguf(store, run.run_id, "latest", out / "model")
    assert names(out) == []


def test_no_file_is_overwritten(
    store: RunStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_text("mine")
    for target, words in (
        (tmp_path / "mine", "is there already"),
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "where", "no folder"),
    ):
        with pytest.raises(UsageError, match=words):
            export_gguf(store, run.run_id, "latest", target)
    monkeypatch.setattr("trainer.export_model.check_file_target", lambda _: None)
    with pytest.raises(StoreError, match="File exists"):
        export_gguf(store, run.run_id, "latest", mine)
    assert mine.read_text() == "mine"
