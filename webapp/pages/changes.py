"""What a person does with one run: stop, annotate, pin, delete, bring back."""

from __future__ import annotations

from flask import flash, make_response, redirect, render_template, request

from trainer.annotating import split_tags
from trainer.errors import TrainerError
from webapp import forms, presenting, services
from webapp.pages.blueprint import Answer, pages, to_list, to_run, undo
from webapp.pages.one_run import whole_page


@pages.post("/runs/<run_id>/stop")
def stop(run_id: str) -> Answer:
    """Ask a run to save and end, or end it at once."""
    kill = request.form.get("now") == "true"
    try:
        run = services().store.stop(run_id, kill=kill)
    except TrainerError as error:
        flash(str(error), "error")
        return to_run(run_id)
    flash(presenting.stop_words(run), "done")
    return to_run(run_id)


@pages.post("/runs/<run_id>/start")
def start(run_id: str) -> Answer:
    """Let a queued run begin before its turn."""
    try:
        run = services().store.start_now(run_id)
    except TrainerError as error:
        flash(str(error), "error")
        return to_run(run_id)
    flash(presenting.start_words(run, "The run starts now."), "done")
    return to_run(run_id)


@pages.post("/runs/<run_id>/annotate")
def annotate(run_id: str) -> Answer:
    """Change name, tags, notes, pin or archive: what the form holds, and nothing else."""
    store = services().store
    run = store.get(run_id)
    given = request.form
    labels = forms.AnnotationForm.submitted(given, run.annotations)
    if labels.errors:
        return make_response(whole_page(run, labels), 422)
    store.annotate(
        run_id,
        name=labels.name if "name" in given else None,
        tags=split_tags(labels.tags) if "tags" in given else None,
        notes=labels.notes if "notes" in given else None,
        pinned=_flag("pinned"),
        archived=_flag("archived"),
    )
    return to_list() if "back" in given else to_run(run_id)


@pages.post("/runs/<run_id>/checkpoints/<name>/pin")
def pin_checkpoint(run_id: str, name: str) -> Answer:
    """Keep a checkpoint for good."""
    try:
        kept_as = services().store.pin_checkpoint(run_id, name)
    except TrainerError as error:
        flash(str(error), "error")
    else:
        flash(f"{name}.pt is kept for good as {kept_as}.pt.", "done")
    return to_run(run_id)


@pages.post("/runs/<run_id>/checkpoints/<name>/unpin")
def unpin_checkpoint(run_id: str, name: str) -> Answer:
    """Let go of a pinned checkpoint."""
    try:
        services().store.unpin_checkpoint(run_id, name)
    except TrainerError as error:
        flash(str(error), "error")
    else:
        flash(f"{name}.pt is not kept any more.", "done")
    return to_run(run_id)


@pages.get("/runs/<run_id>/annotate")
def labelled_run(run_id: str) -> Answer:
    """The address at which a refused form stands, loaded again: the run."""
    return to_run(run_id)


def _flag(name: str) -> bool | None:
    return {"true": True, "false": False}.get(request.form.get(name, ""))


@pages.get("/runs/<run_id>/delete")
def delete(run_id: str) -> Answer:
    """Ask before a run is deleted, and say what goes with it."""
    store = services().store
    run, checkpoints = store.get(run_id), store.checkpoints(run_id)
    size = sum(checkpoint.bytes for checkpoint in checkpoints)
    return render_template("delete.html", here="runs", run=run, checkpoints=checkpoints, size=size)


@pages.post("/runs/<run_id>/delete")
def delete_run(run_id: str) -> Answer:
    """Put a run aside and offer to undo it."""
    store = services().store
    title = store.get(run_id).title
    try:
        store.delete(run_id)
    except TrainerError as error:
        flash(str(error), "error")
        return to_run(run_id)
    flash(f"“{title}” was deleted with its checkpoints.", undo([run_id]))
    return redirect("/", 303)
