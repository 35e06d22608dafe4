"""The form of a new run, its live preview, and the quickstart."""

from __future__ import annotations

from flask import Response, flash, make_response, redirect, render_template, request

from trainer import config as configuration
from trainer.errors import NotFoundError, TrainerError
from webapp import forms, presenting, services
from webapp.pages.blueprint import Answer, pages, submissions, to_run
from webapp.submissions import Submissions


@pages.get("/runs/new")
def new_run() -> Answer:
    """The form of a new run, empty, from a shipped configuration or from another run."""
    return _new_run_page(_starting_form(), Submissions.new_token())


def _starting_form() -> forms.RunForm:
    parent = request.args.get("from")
    if parent:
        run = services().store.get(services().store.resolve(parent))
        config = services().store.config(run.run_id)
        name = f"{run.annotations.name} (copy)" if run.annotations.name else ""
        return forms.filled(config, name=name, tags=run.annotations.tags, parent=run.run_id)
    preset = request.args.get("config")
    if preset is not None and preset not in configuration.shipped_configs():
        raise NotFoundError(f"There is no configuration '{preset[:40]}'.")
    return forms.filled(configuration.load(preset or "default"))


def _new_run_page(form: forms.RunForm, submission: str, status: int = 200) -> Response:
    page = render_template(
        "new_run.html",
        here="runs",
        form=form,
        submission=submission,
        shipped=sorted(configuration.shipped_configs()),
        chosen=request.args.get("config", "" if form.parent else "default"),
    )
    return make_response(page, status)


@pages.post("/runs/new")
def create_run() -> Answer:
    """Start a run, or show the form again with every mistake at its field and nothing lost."""
    form = forms.submitted(request.form.to_dict(flat=False))
    submission, plan = request.form.get("submission", ""), form.plan
    if plan is None:
        return _new_run_page(forms.with_data_checked(form), submission, 422)
    try:
        run_id = submissions().once(submission, lambda: _start(plan, form.parent))
    except TrainerError as error:
        return _new_run_page(forms.refused(form, error), submission, 422)
    return to_run(run_id)


def _start(plan: forms.RunPlan, parent: str | None) -> str:
    run_id = services().store.create(
        plan.config,
        name=plan.name or None,
        tags=plan.tags,
        command=plan.command,
        parent=parent,
        now_anyway=plan.now_anyway,
    )
    started = "The run has started. It goes on by itself, whatever happens to this page."
    flash(presenting.start_words(services().store.get(run_id), started), "done")
    return run_id


@pages.post("/runs/new/preview")
def preview_run() -> Answer:
    """What the form amounts to so far: for htmx, beside the form."""
    form = forms.submitted(request.form.to_dict(flat=False))
    return render_template("_plan.html", form=form)


@pages.post("/runs/quickstart")
def quickstart() -> Answer:
    """Start the quickstart run and show it."""

    def start() -> str:
        command = ["llm-trainer", "train", "--config", "quickstart"]
        config = configuration.load("quickstart")
        return services().store.create(config, name="quickstart", command=command)

    try:
        run_id = submissions().once(request.form.get("submission", ""), start)
    except TrainerError as error:
        flash(str(error), "error")
        return redirect("/", 303)
    return to_run(run_id)
