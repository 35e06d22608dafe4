"""A model from outside becomes a run, whole or not at all, as other runs are."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from tests.engine.models import small_model
from tests.texts import write_text
from trainer.config import Layer, as_flat, build
from trainer.engine import qwen3
from trainer.engine.adopting import adopt
from trainer.errors import CheckpointError, ConflictError, StoreError, UsageError
from trainer.export_model import export_hf
from trainer.import_hf import Imported, Order, import_hf
from trainer.inference.client import ModelProcess
from trainer.inference.protocol import Event
from trainer.inference.request import GenerationSettings
from trainer.runs import RunStore

SECRET = "https://hooks.example/secret-of-mine"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mats"
    folder.mkdir()
    stored = as_flat(build(Layer("test", {"data.dataset_name": "python-docs"})))
    qwen3.write(small_model(16, config=stored), folder, "Mats")
    return folder


class InThisProcess(contextlib.AbstractContextManager["InThisProcess"]):
    """Reads folders as the model's process does, without the seconds that it takes to start."""

    def import_model(
        self, folder: Path, target: Path, *, settings: dict[str, Any], known: dict[str, Any]
    ) -> contextlib.AbstractContextManager[list[Event]]:
        run = adopt(folder, target, settings, known, lambda _: None)
        return contextlib.nullcontext([{"type": "done", "run": run}])

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.import_hf.ModelProcess", InThisProcess)


def imported(store: RunStore, folder: Path, **order: Any) -> Imported:
    return import_hf(store, folder, Order(**order), lambda _: None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@pytest.mark.usefixtures("at_once")
def test_an_imported_run_is_complete_and_says_where_it_comes_from(
    store: RunStore, folder: Path
) -> None:
    settings = {"notify.url": SECRET, "data.dataset_name": "wikitext-2"}
    made = imported(store, folder, name="Mats", tags=["a,b"], settings=settings)
    run = store.inspect(made.run_id)
    state = run.state
    assert (run.status, state.step, state.epochs, state.val_loss) == ("completed", 0, 0, None)
    assert (run.title, run.annotations.tags, run.damage) == ("Mats", ["a", "b"], ())
    told = store.meta(made.run_id).data["imported"]
    assert told == {"folder": str(folder), "weights_sha256": made.weights_sha256}
    with store.metrics(made.run_id) as reader:
        (event,) = reader.events()
    assert event["kind"] == "imported"
    assert event["message"] == state.notices[0]
    assert "imported from mats" in store.log_tail(made.run_id)[0]
    assert store.config(made.run_id).notify.url == SECRET
    assert SECRET.encode() not in run.paths.checkpoint("latest").read_bytes()


def test_it_writes_what_the_model_writes_and_goes_out_as_it_came(
    store: RunStore, folder: Path, tmp_path: Path
) -> None:
    made = imported(store, folder)
    assert store.get(made.run_id).title == "mats (imported)"
    export_hf(store, made.run_id, "latest", tmp_path / "again")
    weights = [(place / "model.safetensors").read_bytes() for place in (folder, tmp_path / "again")]
    assert weights[0] == weights[1]
    path = store.checkpoint_path(made.run_id, "latest")
    with ModelProcess() as model:
        settings = GenerationSettings(prompt=" the", max_new_tokens=4, temperature=0)
        assert model.generate(path, settings).result()["tokens"] == 4


@pytest.mark.usefixtures("at_once")
def test_a_refusal_leaves_nothing(store: RunStore, folder: Path, tmp_path: Path) -> None:
    for wrong, order in (
        (tmp_path / "nowhere", {}),
        (folder / "config.json", {}),
        (Path("~no-such-user-here/x"), {}),
        (folder, {"name": "a\nb"}),
        (folder, {"settings": {"model.width": 8}}),
    ):
        with pytest.raises(UsageError):
            imported(store, wrong, **order)
    (folder / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        imported(store, folder)
    workspace = store.workspace
    assert (names(workspace.runs_dir), names(workspace.checkpoints_dir)) == ([], [])


@pytest.mark.usefixtures("at_once")
def test_a_workspace_that_cannot_be_written_is_told(
    store: RunStore, home: Path, folder: Path
) -> None:
    home.mkdir()
    (home / "runs").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be made"):
        imported(store, folder)
    assert names(home) == ["runs"]


@pytest.mark.usefixtures("at_once")
def test_only_more_epochs_train_it_on(store: RunStore, folder: Path) -> None:
    made = imported(store, folder)
    with pytest.raises(ConflictError, match="its last step is done"):
        store.resume(made.run_id)


@pytest.mark.usefixtures("at_once")
def test_a_text_of_ones_own_is_found_through_the_run(
    store: RunStore, tmp_path: Path, make_run: Any
) -> None:
    text = write_text(tmp_path / "text.txt")
    stored = as_flat(build(Layer("test", {"data.dataset_name": str(text)})))
    run = make_run(config=build(Layer("test", stored)))
    folder = tmp_path / "mats"
    folder.mkdir()
    qwen3.write(small_model(16, config=stored), folder, "Mats", run.run_id)
    assert str(text) not in (folder / "llm-trainer.json").read_text()
    assert store.config(imported(store, folder).run_id).data.dataset_name == str(text)
    other = RunStore(tmp_path / "other")
    assert other.config(imported(other, folder).run_id).data.dataset_name == "unknown"
