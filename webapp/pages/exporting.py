"""A checkpoint to take along: as a model for other programs, or as the file that it is."""

from __future__ import annotations

import shlex
from pathlib import Path

from flask import Response, flash, make_response, redirect, render_template, send_file, url_for

from trainer import formats
from trainer.errors import NotFoundError, TrainerError
from trainer.export_hf import Exported, export_hf
from trainer.store.checkpoints import Checkpoint
from webapp import services
from webapp.pages.blueprint import Answer, pages

EXPORTS = "exports"
"""The folder of the workspace that exported models are written to."""


@pages.get("/runs/<run_id>/checkpoints/<name>/export")
def export(run_id: str, name: str) -> Answer:
    """What a checkpoint can be exported as, and the commands that do the same."""
    return _page(run_id, name)


@pages.post("/runs/<run_id>/checkpoints/<name>/export")
def export_model(run_id: str, name: str) -> Answer:
    """Write the model of a checkpoint into the workspace; a process of its own does the work."""
    store = services().store
    try:
        target = _target(run_id, _checkpoint(run_id, name))
        target.parent.mkdir(exist_ok=True)
        written = export_hf(store, run_id, name, target)
    except TrainerError as error:
        return _page(run_id, name, error)
    flash(_words(written), "done")
    return redirect(url_for("pages.export", run_id=run_id, name=name), 303)


@pages.get("/runs/<run_id>/checkpoints/<name>.pt")
def checkpoint_file(run_id: str, name: str) -> Answer:
    """The checkpoint as the file that it is."""
    path = services().store.checkpoint_path(run_id, name)
    return send_file(
        path, mimetype="application/octet-stream", download_name=f"{run_id}-{name}.pt",
        as_attachment=True,
    )  # fmt: skip


def _page(run_id: str, name: str, error: TrainerError | None = None) -> Response:
    run, checkpoint = services().store.get(run_id), _checkpoint(run_id, name)
    target = _target(run_id, checkpoint)
    page = render_template(
        "export.html",
        here="runs",
        run=run,
        checkpoint=checkpoint,
        target=target,
        there=target.is_dir(),
        command=_command(run_id, name),
        error=error,
    )
    return make_response(page, error.http_status if error else 200)


def _checkpoint(run_id: str, name: str) -> Checkpoint:
    found = {checkpoint.name: checkpoint for checkpoint in services().store.checkpoints(run_id)}
    if name not in found:
        there = ", ".join(found) or "none yet"
        raise NotFoundError(f"Run {run_id} has no checkpoint '{name[:80]}'.", f"There is: {there}.")
    return found[name]


def _target(run_id: str, checkpoint: Checkpoint) -> Path:
    folder = services().store.workspace.home / EXPORTS
    return folder / f"{run_id}-{checkpoint.name}-at-{checkpoint.step}"


def _command(run_id: str, name: str) -> str:
    home = str(services().store.workspace.home)
    options = ["--run-id", run_id, "--format", "hf", "--checkpoint", name, "--out", "my-model"]
    return shlex.join(["llm-trainer", "--home", home, "export", *options])


def _words(written: Exported) -> str:
    figures = f"{formats.count(written.parameters)} parameters, {formats.size(written.bytes)}"
    return f"Wrote the model to {written.folder}: {figures}."
