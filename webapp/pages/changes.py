"""What a person does with one run: stop, resume, annotate, delete, bring back."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Response, flash, make_response, redirect, render_template, request

from trainer.errors import NotFoundError, TrainerError, UsageError
from trainer.resumption import chosen_checkpoint, source_words
from webapp import forms, presenting, services
from webapp.pages.blueprint import Answer, pages, submissions, to_list, to_run, undo
from webapp.pages.one_run import whole_page
from webapp.submissions import Submissions


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
        tags=forms.split_tags(labels.tags) if "tags" in given else None,
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


@pages.get("/runs/<run_id>/resume")
def resume(run_id: str) -> Answer:
    """The form that goes on with a run; for htmx the sentence that says what will happen."""
    template = "_resume_sentence.html" if request.headers.get("HX-Request") else "resume.html"
    page = _resume_page(run_id, request.args, template)
    page.headers["Vary"] = "HX-Request"
    return page


def _resume_page(
    run_id: str, given: Mapping[str, str], template: str, error: TrainerError | None = None
) -> Response:
    store = services().store
    run, checkpoints = store.get(run_id), store.checkpoints(run_id)
    config = store.config(run_id)
    source = given.get("from") or (checkpoints[0].name if checkpoints else "latest")
    suggested = "1" if run.status == "completed" else "0"
    more_epochs = given.get("more_epochs", suggested).strip()
    chosen = next((c for c in checkpoints if c.name == source), None)
    count = int(more_epochs) if more_epochs.isascii() and more_epochs.isdecimal() else None
    sentence = (
        presenting.resume_sentence(run.state, config, chosen, count)
        if chosen is not None and count is not None
        else "Choose a checkpoint and a whole number of epochs, 0 or more."
    )
    page = render_template(
        template,
        here="runs",
        run=run,
        checkpoints=checkpoints,
        source=source,
        more_epochs=more_epochs,
        sentence=sentence,
        now_anyway=given.get("now_anyway") == "true",
        error=error,
        submission=given.get("submission") or Submissions.new_token(),
    )
    return make_response(page, 422 if error else 200)


@pages.post("/runs/<run_id>/resume")
def resume_run(run_id: str) -> Answer:
    """Go on with a run, or say beside the form why that cannot be."""
    source = request.form.get("from", "latest")
    now_anyway = request.form.get("now_anyway") == "true"
    chosen = chosen_checkpoint(services().store.get(run_id).paths, source)
    try:
        more_epochs = _whole_number(request.form.get("more_epochs", "0"))

        def go_on() -> str:
            services().store.resume(
                run_id, more_epochs=more_epochs, source=source, now_anyway=now_anyway
            )
            return run_id

        submissions().once(request.form.get("submission", ""), go_on)
    except NotFoundError:
        raise
    except TrainerError as error:
        return _resume_page(run_id, request.form, "resume.html", error)
    run = services().store.get(run_id)
    words = f"Going on from {source_words(source, chosen, None)}."
    flash(presenting.start_words(run, words), "done")
    return to_run(run_id)


def _whole_number(text: str) -> int:
    stripped = text.strip() or "0"
    if not (stripped.isascii() and stripped.isdecimal() and len(stripped) <= 9):
        raise UsageError(f"'{text[:40]}' is not a whole number of epochs.", "Give 0 or more.")
    return int(stripped)


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
