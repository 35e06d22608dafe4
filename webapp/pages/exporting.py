"""A run to take along: its model for other programs, its curves, or a checkpoint as it is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flask import (
    Response,
    make_response,
    redirect,
    render_template,
    request,
    send_file,
    session,
    url_for,
)

from trainer import formats
from trainer.errors import NotFoundError, TrainerError, UsageError
from trainer.export_model import Exported, export_gguf, export_hf
from trainer.export_tensorboard import export_tensorboard
from trainer.inference.protocol import WeightType
from trainer.store.checkpoints import Checkpoint
from webapp import services
from webapp.pages.blueprint import Answer, pages

WRITTEN = "written"
"""What the session keeps for the next page, the format and the words; its place on that page."""

EXPORTS = "exports"
"""The folder of the workspace that exported models and curves are written to."""

WEIGHT_TYPES: dict[WeightType, str] = {
    "f16": "f16: half the size of f32, writes as well",
    "q8_0": "q8_0: a quarter of the size, rounded to 8 bits",
    "f32": "f32: exact",
}


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file that was written already."""

    weights: WeightType
    name: str
    size: str


@pages.get("/runs/<run_id>/checkpoints/<name>/export")
def export(run_id: str, name: str) -> Answer:
    """What a checkpoint can be exported as, and the commands that do the same."""
    return _page(run_id, name)


@pages.post("/runs/<run_id>/checkpoints/<name>/export")
def export_model(run_id: str, name: str) -> Answer:
    """Write what the form asks for into the workspace; a process of its own reads the model."""
    form = request.form.get("format", "hf")
    try:
        session[WRITTEN] = [form, _write(run_id, _checkpoint(run_id, name), form)]
    except TrainerError as error:
        return _page(run_id, name, error)
    return redirect(url_for("pages.export", run_id=run_id, name=name, _anchor=WRITTEN), 303)


@pages.get("/runs/<run_id>/checkpoints/<name>.pt")
def checkpoint_file(run_id: str, name: str) -> Answer:
    """The checkpoint as the file that it is."""
    path = services().store.checkpoint_path(run_id, name)
    return _file(path, f"{run_id}-{name}.pt")


@pages.get("/runs/<run_id>/checkpoints/<name>/<weights>.gguf")
def gguf_file(run_id: str, name: str, weights: str) -> Answer:
    """A GGUF file that was written before."""
    path = _gguf_target(run_id, _checkpoint(run_id, name), _weight_type(weights))
    if not path.is_file():
        raise NotFoundError(
            f"There is no {path.name}.", "Write it first, on the checkpoint's export page."
        )
    return _file(path, path.name)


def _file(path: Path, name: str) -> Response:
    return send_file(
        path, mimetype="application/octet-stream", download_name=name, as_attachment=True
    )


# ---------------------------------------------------------------------- writing


def _write(run_id: str, checkpoint: Checkpoint, form: str) -> str:
    """Write a format, with what else the form names, and say what was written where."""
    store = services().store
    (store.workspace.home / EXPORTS).mkdir(exist_ok=True)
    if form == "hf":
        target = _target(run_id, checkpoint)
        return _words(export_hf(store, run_id, checkpoint.name, target))
    if form == "gguf":
        weights = _weight_type(request.form.get("weights", "f16"))
        target = _gguf_target(run_id, checkpoint, weights)
        return _words(export_gguf(store, run_id, checkpoint.name, target, weights))
    if form == "tensorboard":
        board = export_tensorboard(store, run_id, _board_target(run_id))
        return f"Wrote {formats.plural(board.steps, 'step')} to {board.path}."
    raise UsageError(f"'{form[:80]}' is not a format.", "There are: hf, gguf, tensorboard.")


def _words(written: Exported) -> str:
    figures = f"{formats.count(written.parameters)} parameters, {formats.size(written.bytes)}"
    return f"Wrote the model to {written.path}: {figures}."


def _weight_type(text: str) -> WeightType:
    for weights in WEIGHT_TYPES:
        if weights == text:
            return weights
    allowed = ", ".join(get_args(WeightType))
    raise UsageError(f"'{text[:80]}' is not a number format.", f"There are: {allowed}.")


def _target(run_id: str, checkpoint: Checkpoint) -> Path:
    folder = services().store.workspace.home / EXPORTS
    return folder / f"{run_id}-{checkpoint.name}-at-{checkpoint.step}"


def _gguf_target(run_id: str, checkpoint: Checkpoint, weights: WeightType) -> Path:
    folder = _target(run_id, checkpoint)
    return folder.with_name(f"{folder.name}-{weights}.gguf")


def _board_target(run_id: str) -> Path:
    """Name the curves by their last step: a run that goes on gets another folder."""
    with services().store.metrics(run_id) as reader:
        step = reader.last_step() or 0
    return services().store.workspace.home / EXPORTS / f"{run_id}-curves-to-{step}"


# ---------------------------------------------------------------------- the page


def _page(run_id: str, name: str, error: TrainerError | None = None) -> Response:
    run, checkpoint = services().store.get(run_id), _checkpoint(run_id, name)
    target, gguf_files = _target(run_id, checkpoint), _gguf_files(run_id, checkpoint)
    there = {file.weights for file in gguf_files}
    unwritten = {weights: words for weights, words in WEIGHT_TYPES.items() if weights not in there}
    page = render_template(
        "export.html",
        here="runs",
        run=run,
        checkpoint=checkpoint,
        target=target,
        there=target.is_dir(),
        unwritten=unwritten,
        gguf_folder=target.parent,
        gguf_files=gguf_files,
        board=_board_shown(run_id),
        commands=_commands(run_id, name, next(iter(unwritten or WEIGHT_TYPES))),
        written=session.pop(WRITTEN, ["", ""]),
        error=error,
    )
    return make_response(page, error.http_status if error else 200)


def _gguf_files(run_id: str, checkpoint: Checkpoint) -> list[GgufFile]:
    paths = {weights: _gguf_target(run_id, checkpoint, weights) for weights in WEIGHT_TYPES}
    return [
        GgufFile(weights, path.name, formats.size(path.stat().st_size))
        for weights, path in paths.items()
        if path.is_file()
    ]


def _board_shown(run_id: str) -> tuple[Path, bool] | None:
    """Return where the curves are written and whether they are there; None: they are damaged."""
    try:
        board = _board_target(run_id)
    except TrainerError:
        return None
    return board, board.is_dir()


def _checkpoint(run_id: str, name: str) -> Checkpoint:
    found = {checkpoint.name: checkpoint for checkpoint in services().store.checkpoints(run_id)}
    if name not in found:
        there = ", ".join(found) or "none yet"
        raise NotFoundError(f"Run {run_id} has no checkpoint '{name[:80]}'.", f"There is: {there}.")
    return found[name]


def _commands(run_id: str, name: str, weights: WeightType) -> dict[str, str]:
    """Return the command line for each format; ``weights`` is what the form offers first."""
    of_checkpoint = ["--checkpoint", name]
    return {
        "hf": _command(run_id, "hf", *of_checkpoint, "--out", "my-model"),
        "gguf": _command(
            run_id, "gguf", *of_checkpoint, "--weights", weights, "--out", "my-model.gguf"
        ),
        "csv": _command(run_id, "csv", "--out", "curves.csv"),
        "tensorboard": _command(run_id, "tensorboard", "--out", "boards/my-run"),
    }


def _command(run_id: str, form: str, *options: str) -> str:
    home = str(services().store.workspace.home)
    words = ["export", "--run-id", run_id, "--format", form, *options]
    return shlex.join(["llm-trainer", "--home", home, *words])
