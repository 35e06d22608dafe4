"""The form of a new run, what it amounts to while it is filled in, and the quickstart."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from flask import Response, flash, make_response, redirect, render_template, request, url_for
from werkzeug.datastructures import FileStorage

from trainer import config as configuration
from trainer import datasource
from trainer.candidates import CPU, cpu_name, gpus_here
from trainer.choosing import Choice, Device, select
from trainer.config import SETTINGS, Config, DataSettings, Layer
from trainer.errors import DeviceError, NotFoundError, TrainerError, UsageError
from trainer.foresight.outlook import Outlook, foresee
from trainer.runs import Run
from webapp import forms, presenting, services
from webapp.pages.blueprint import Answer, pages, submissions, to_run
from webapp.planning import (
    Note,
    Prospect,
    device_note,
    foreseen_lines,
    measured_lines,
    plan_of,
)
from webapp.submissions import Submissions

MAX_TOML_CHARACTERS = 200_000


@pages.get("/runs/new")
def new_run() -> Answer:
    """The form of a new run, empty, from a shipped configuration or from another run."""
    return _new_run_page(_starting_form(), Submissions.new_token())


def _starting_form() -> forms.RunForm:
    parent = request.args.get("from")
    if parent:
        run = services().store.get(services().store.resolve(parent))
        config = _on_other_text(services().store.config(run.run_id), request.args.get("dataset"))
        name = f"{run.annotations.name} (copy)" if run.annotations.name else ""
        return forms.filled(config, name=name, tags=run.annotations.tags, parent=run.run_id)
    preset = request.args.get("config")
    if preset is not None and preset not in configuration.shipped_configs():
        raise NotFoundError(f"There is no configuration '{preset[:40]}'.")
    return forms.filled(configuration.load(preset or "default"))


def _on_other_text(config: Config, name: str | None) -> Config:
    """Let a configuration train on what ``?dataset=`` of the address names."""
    if name is None:
        return config
    data = msgspec.structs.replace(config.data, dataset_name=name, dataset_config=None)
    return msgspec.structs.replace(config, data=data)


def _new_run_page(
    form: forms.RunForm,
    submission: str,
    status: int = 200,
    *,
    toml: str = "",
) -> Response:
    toml = toml or request.form.get("toml", "")
    page = render_template(
        "new_run.html",
        here="runs",
        form=form,
        parent=_run_or_none(form.parent),
        prospect=_prospect(form),
        submission=submission,
        presets=presenting.preset_cards(),
        chosen="" if form.parent or toml else request.args.get("config", "default"),
        toml=toml,
    )
    return make_response(page, status)


def _run_or_none(run_id: str | None) -> Run | None:
    """Return the run that is cloned; it may have been deleted meanwhile."""
    try:
        return services().store.get(run_id) if run_id else None
    except TrainerError:
        return None


@pages.post("/runs/new")
def create_run() -> Answer:
    """Start a run, or show the form again with every mistake at its field and nothing lost."""
    form, submission = _sent_form(), request.form.get("submission", "")
    plan = plan_of(form)
    if plan is None:
        return _new_run_page(forms.with_data_checked(form), submission, 422)

    def start() -> str:
        run_id = services().store.create(
            plan.config,
            name=plan.name or None,
            tags=plan.tags,
            command=plan.command,
            parent=form.parent,
            now_anyway=plan.now_anyway,
        )
        started = "The run has started. It goes on by itself, whatever happens to this page."
        flash(presenting.start_words(services().store.get(run_id), started), "done")
        return run_id

    try:
        return to_run(submissions().once(submission, start, plan))
    except TrainerError as error:
        return _new_run_page(forms.refused(form, error), submission, 422)


def _sent_form() -> forms.RunForm:
    """Read the form; what it shows masked is that of the run that is cloned."""
    form = forms.submitted(request.form.to_dict(flat=False))
    if form.parent is None:
        return form
    try:
        beneath = configuration.secrets_of(services().store.config(form.parent))
    except TrainerError:
        return form
    return forms.submitted(request.form.to_dict(flat=False), beneath)


@pages.post("/runs/new/preview")
def preview_run() -> Answer:
    """What the form amounts to so far: for htmx the panel beside it, else the whole page."""
    form = _sent_form()
    if "HX-Request" in request.headers:
        return render_template("_plan.html", form=form, prospect=_prospect(form), live=True)
    return _new_run_page(form, request.form.get("submission", ""))


@pages.post("/runs/new/toml")
def fill_from_toml() -> Answer:
    """The form filled from a configuration that was pasted or chosen as a file.

    When something is wrong with that, the form comes back as it was typed.
    """
    form, toml = _sent_form(), request.form.get("toml", "")
    try:
        toml = _chosen_file(request.files.get("toml_file")) or toml
        form = forms.pasted(toml[:MAX_TOML_CHARACTERS], form)
    except UsageError as error:
        form = replace(form, told=(str(error),))
    submission = request.form.get("submission") or Submissions.new_token()
    return _new_run_page(form, submission, 422 if form.told else 200, toml=toml)


@pages.get("/runs/new/toml")
@pages.get("/runs/new/preview")
@pages.get("/runs/new/trial/cancel")
def form_was_sent_here() -> Answer:
    """Lead on to the form whoever comes back to an address that only takes what it sends."""
    return redirect(url_for("pages.new_run"), 303)


def _chosen_file(file: FileStorage | None) -> str:
    if file is None or not file.filename:
        return ""
    try:
        return file.stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"'{file.filename[:80]}' is not a text file in UTF-8.",
            "A configuration is a TOML file.",
        ) from error


# ---------------------------------------------------------------------- what it will take


def _prospect(form: forms.RunForm) -> Prospect:
    """Gather what is certain, measured or foreseen of the form."""
    plan, trials = plan_of(form), services().trials
    choice, notes = _choice_and_notes(form)
    under_way = trials.under_way()
    if plan is None:
        return Prospect(None, notes=notes, other_trial=under_way is not None)
    trial = trials.of(plan.config)
    if trial is not None and trial.found is not None:
        lines = measured_lines(trial.found)
    else:
        lines = foreseen_lines(_outlook(plan.config, choice))
    active = services().store.list(status="active", limit=1).runs
    return Prospect(
        plan,
        lines,
        notes,
        trial=trial,
        other_trial=under_way is not None and under_way is not trial,
        busy=active[0].title if active else None,
    )


def _outlook(config: Config, choice: Choice | None) -> Outlook:
    known = services().precedents
    if choice is None:
        choice = Choice("cpu", cpu_name(), "")
    try:
        data = datasource.absolute_path(config.data)
    except datasource.DatasetNameError:
        data = config.data
    return foresee(
        msgspec.structs.replace(config, data=data),
        known.newest(),
        choice.device,
        choice.name,
        known.peak_memory_bytes,
    )


def _choice_and_notes(form: forms.RunForm) -> tuple[Choice | None, dict[str, Note]]:
    """Look at the device and the text that the form names, whatever else is wrong with it."""
    wrong = {fault.key for fault in form.faults}
    choice, notes = None, {}
    if "device.preference" not in wrong:
        choice, notes["device.preference"] = _device(
            form.texts["device.preference"].strip(), form.texts["device.strict"] == "true"
        )
    if not any(key.startswith("data.") for key in wrong):
        notes["data.dataset_name"] = _text(_data_settings(form))
    return choice, notes


def _device(preference: str, strict: bool) -> tuple[Choice | None, Note]:
    here = [Device(CPU.id, cpu_name(), None), *gpus_here()]
    try:
        choice = select(preference, strict, here)
    except DeviceError as error:
        return None, Note(str(error), "bad")
    return choice, device_note(choice, here)


def _data_settings(form: forms.RunForm) -> DataSettings:
    values = {key: forms.read(SETTINGS[key], text) for key, text in form.texts.items()}
    data = {key: value for key, value in values.items() if key.startswith("data.")}
    return configuration.build(Layer("form", data)).data


def _text(data: DataSettings) -> Note:
    try:
        words = datasource.standing(data)
        silence = (
            "" if data.fallback or not datasource.needs_hub(data) else services().hub.silence()
        )
    except datasource.DatasetNameError as error:
        return Note(str(error), "bad")
    if not silence:
        return Note(words)
    return Note(
        f"{words} But the hub cannot be reached now: {silence}. {datasource.EMBEDDED} needs no "
        "network.",
        "warning",
    )


@pages.post("/runs/new/trial")
def try_out() -> Answer:
    """Begin to try the form's run out on this machine; the panel then follows it."""
    form = _sent_form()
    if form.config is not None:
        try:
            services().trials.start(form.config)
        except TrainerError as error:
            flash(str(error), "error")
    return preview_run()


@pages.post("/runs/new/trial/cancel")
def cancel_trial() -> Answer:
    """End the trial under way."""
    services().trials.cancel()
    return preview_run()


@pages.get("/runs/new/trial")
def trial_phase() -> Answer:
    """What the trial under way is doing, for htmx; when it is over the panel is asked for anew."""
    trial = services().trials.under_way()
    answer = make_response(trial.phase if trial is not None else "over …")
    if trial is None:
        answer.headers["HX-Trigger"] = "trial-over"
    return answer


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
