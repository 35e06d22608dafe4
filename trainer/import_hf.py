"""A folder of dense Qwen3 as a run to go on from; never imports torch.

The model's process reads the folder and writes the checkpoint. Everything is made under other
names; the run appears whole, or not at all.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer import config as configuration
from trainer.annotating import check_annotations, separate_tags
from trainer.config import Layer
from trainer.errors import StoreError, TrainerError, UsageError
from trainer.inference.client import ModelProcess
from trainer.inference.protocol import Event
from trainer.launch import versions
from trainer.provenance import read_provenance
from trainer.runs import RunStore
from trainer.store.files import replace_file, sync_folder, write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.records import Annotations, Meta, State, now
from trainer.store.workspace import RunPaths, Workspace, is_run_id, new_run_id


@dataclass(frozen=True)
class Order:
    """What the imported run is to be called and to have.

    Attributes:
        name: of the run; without one it is called by its folder.
        settings: by ``section.key``, before those that the folder tells.
        command: the command line that asks for it.
    """

    name: str | None = None
    tags: Sequence[str] = ()
    settings: Mapping[str, Any] | None = None
    command: Sequence[str] = ()


@dataclass(frozen=True)
class Imported:
    """The run that was made, and what its model is."""

    run_id: str
    folder: Path
    parameters: int
    weights_sha256: str
    dataset: str | None
    notices: Sequence[str]


def import_hf(
    store: RunStore, source: Path, order: Order, tell: Callable[[Event], None]
) -> Imported:
    """Make a completed run of the model in a folder, with a checkpoint to go on from.

    Args:
        tell: is told of progress, in events of :mod:`trainer.inference.protocol`.

    Raises:
        UsageError: the path is no folder, or a name or a setting is wrong.
        CheckpointError: the folder holds another kind of model, or is damaged.
        StoreError: the run cannot be written.
    """
    folder = _folder(source)
    tags = separate_tags(order.tags)
    check_annotations(name=order.name, tags=tags)
    workspace, run_id = store.workspace, new_run_id()
    with _appearing(workspace, run_id) as staged:
        found = _read_model(folder, staged, order.settings or {}, _known_text(store, folder), tell)
        name = order.name or _name_of(folder)
        notes = Annotations(name=name, tags=list(dict.fromkeys(tags)))
        _fill(staged, folder, order, found, notes)
    return Imported(
        run_id,
        folder,
        found["parameters"],
        found["weights_sha256"],
        found["dataset"],
        found["notices"],
    )


def _folder(source: Path) -> Path:
    try:
        folder = source.expanduser().resolve()
    except RuntimeError as error:  # pathlib's: an unknown ~user, or links in a circle.
        raise UsageError(f"'{source}' cannot be found: {error}", "Name another folder.") from error
    if folder.is_dir():
        return folder
    what = "is a file" if folder.exists() else "does not exist"
    raise UsageError(
        f"The folder '{source}' {what}.",
        "Name a folder with config.json, tokenizer.json and model.safetensors.",
    )


def _name_of(folder: Path) -> str | None:
    """Call a run by its folder, as ``cpu-hour (imported)``, where such a name is allowed."""
    name = f"{folder.name} (imported)"
    try:
        check_annotations(name=name)
    except UsageError:
        return None
    return name


def _known_text(store: RunStore, folder: Path) -> dict[str, Any]:
    """Return where the text lies that a folder's run learned from, where the run is here too."""
    told, _ = read_provenance(folder)
    if told is None or not is_run_id(told.run_id):
        return {}
    try:
        data = store.config(told.run_id).data
    except TrainerError:
        return {}
    return {"data.dataset_name": data.dataset_name, "data.dataset_config": data.dataset_config}


def _read_model(
    folder: Path,
    staged: RunPaths,
    settings: Mapping[str, Any],
    known: Mapping[str, Any],
    tell: Callable[[Event], None],
) -> dict[str, Any]:
    target = staged.checkpoint("latest")
    with (
        ModelProcess() as model,
        model.import_model(folder, target, settings=dict(settings), known=dict(known)) as job,
    ):
        last: Event = {}
        for last in job:
            if last["type"] == "progress":
                tell(last)
    run: dict[str, Any] = last["run"]
    return run


# ---------------------------------------------------------------------- the run's files


@contextlib.contextmanager
def _appearing(workspace: Workspace, run_id: str) -> Iterator[RunPaths]:
    """Give the paths of a run to fill; at the end it gets its name, on any failure it is removed.

    Raises:
        StoreError: it cannot be written.
    """
    final = workspace.paths(run_id)
    hidden = f".new-{run_id}"
    staged = RunPaths(run_id, workspace.runs_dir / hidden, workspace.checkpoints_dir / hidden)
    try:
        staged.folder.mkdir(parents=True)
        staged.checkpoints.mkdir(parents=True)
        yield staged
        _publish(staged, final)
    except OSError as error:
        raise StoreError(
            f"The run cannot be made in {workspace.home}: {error.strerror or error}.",
            "Check free space and permissions, or choose another folder with --home.",
        ) from error
    finally:
        shutil.rmtree(staged.folder, ignore_errors=True)
        shutil.rmtree(staged.checkpoints, ignore_errors=True)


def _publish(staged: RunPaths, final: RunPaths) -> None:
    """Put the checkpoints in place, then the run: whoever sees it finds them."""
    staged.checkpoints.rename(final.checkpoints)
    try:
        staged.folder.rename(final.folder)
    except BaseException:
        shutil.rmtree(final.checkpoints, ignore_errors=True)
        raise
    sync_folder(final.checkpoints.parent)
    sync_folder(final.folder.parent)


def _fill(
    staged: RunPaths, folder: Path, order: Order, found: Mapping[str, Any], notes: Annotations
) -> None:
    at = now()
    # Secrets that were chosen stay in the run's own file; the checkpoint has none.
    config = configuration.build(
        Layer("the model", found["config"]), Layer("--set", order.settings or {})
    )
    write_record(staged.meta, _meta(staged.run_id, at, folder, order, found))
    write_record(staged.annotations, notes)
    stored = configuration.to_toml(configuration.resolved(config), secrets=True)
    replace_file(staged.config, stored.encode())
    write_record(staged.state, _state(staged.run_id, at, found))
    _tell_history(staged, at, found)


def _meta(run_id: str, at: str, folder: Path, order: Order, found: Mapping[str, Any]) -> Meta:
    imported = {"folder": str(folder), "weights_sha256": found["weights_sha256"]}
    text = found["config"]["data.dataset_name"]
    return Meta(
        run_id=run_id,
        created_at=at,
        command=configuration.without_secrets(order.command),
        versions=versions(),
        data={"requested": text, "used": text, "reason": None, "imported": imported},
    )


def _state(run_id: str, at: str, found: Mapping[str, Any]) -> State:
    return State(
        run_id=run_id,
        status="completed",
        epoch=0,
        epochs=0,
        step=0,
        total_steps=0,
        tokens=0,
        parameters=found["parameters"],
        val_loss=found["val_loss"],
        best_val_loss=found["val_loss"],
        val_word_perplexity=found["val_word_perplexity"],
        best_val_word_perplexity=found["val_word_perplexity"],
        elapsed_seconds=0.0,
        dataset=found["dataset"],
        notices=[_words(found), *found["notices"]],
        created_at=at,
        updated_at=at,
    )


def _words(found: Mapping[str, Any]) -> str:
    told: str = found["told"]
    return f"This run was {told}. It has no history of its own before step 1."


def _tell_history(staged: RunPaths, at: str, found: Mapping[str, Any]) -> None:
    """Write in events and log that it was imported."""
    words = _words(found)
    event = {"at": at, "step": 0, "kind": "imported", "level": "info", "message": words}
    sitting = {"id": 1, "started_at": at, "from_step": 0, "ended_at": at, "to_step": 0}
    writer = MetricsWriter(staged.metrics)
    try:
        writer.write([("events", event), ("sittings", sitting | {"ended": "completed"})])
    finally:
        writer.close()
    replace_file(staged.train_log, f"{at} INFO {words}\n".encode())
