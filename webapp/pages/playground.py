"""The pages on which trained models write, and score what others wrote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Response, make_response, render_template, request

from trainer.errors import TrainerError
from trainer.inference.protocol import Event
from trainer.inference.telling import (
    Figure,
    best_value,
    report_words,
    score_figures,
    unread_prompt_words,
)
from trainer.store.records import now
from webapp import services
from webapp.jsonio import json_answer
from webapp.models import RunModels, choosable
from webapp.pages.blueprint import Answer, pages
from webapp.score_form import ALTERNATIVES, MOST_SCORED_CHARACTERS, ScoreForm
from webapp.writing_form import WRITING_FIELDS, WritingForm

# ---------------------------------------------------------------------- write


@pages.get("/playground")
def playground() -> Answer:
    """Write with any checkpoint; a link may carry the prompt and the settings."""
    return _playground_page(WritingForm.linked(request.args))


@pages.post("/playground")
def write_text() -> Answer:
    """Write a text and show it when it is done: for browsers without scripts."""
    form = WritingForm.submitted(request.form)
    if form.errors:
        return make_response(_playground_page(form), 422)
    try:
        settings = form.settings()
        with services().writers.begin("page", *_model(form.model), settings) as writing:
            return _playground_page(form, written=writing.finish())
    except TrainerError as error:
        return make_response(_playground_page(form, error=error), error.http_status)


@pages.get("/playground/models")
def models() -> Response:
    """List the models there are now, for a page that is open."""
    found = choosable(services().store, request.args.getlist("run"))
    return json_answer({"models": [one.as_dict() for one in found]})


def _playground_page(
    form: WritingForm, written: Event | None = None, error: TrainerError | None = None
) -> str:
    return render_template(
        "playground.html",
        **_models_for(form.model),
        values=form,
        fields=WRITING_FIELDS,
        written=written,
        report=written and report_words(written, written["tokens_per_second"]),
        unread=written and unread_prompt_words(written),
        error=error,
    )


# ---------------------------------------------------------------------- score


@dataclass(frozen=True)
class Scored:
    """A text as one model finds it: ``told`` is the last event of its score."""

    label: str
    told: Event

    @property
    def figures(self) -> list[Figure]:
        """What was measured, in words."""
        return score_figures(self.told)


@dataclass(frozen=True)
class FigureRow:
    """One measurement of a text by each model."""

    figures: Sequence[Figure]

    @property
    def best(self) -> str | None:
        """The value that is best, if one is."""
        return best_value(self.figures)

    @property
    def shared(self) -> bool:
        """Whether it is no measurement of the model, and the same for all: its length."""
        first = self.figures[0]
        return first.amount is None and {one.value for one in self.figures} == {first.value}


@pages.get("/playground/score")
def score() -> Answer:
    """Paste a text to see how likely a model finds it."""
    return _score_page(ScoreForm.linked(request.args))


@pages.post("/playground/score")
def score_text() -> Answer:
    """Score a text and show it when it is done: for browsers without scripts."""
    form = ScoreForm.submitted(request.form)
    if form.error:
        return make_response(_score_page(form), 422)
    try:
        return _score_page(form, told=[_scored(model, form.text) for model in form.models])
    except TrainerError as error:
        return make_response(_score_page(form, error=error), error.http_status)


def _scored(model: str, text: str) -> Event:
    with services().writers.score("page", *_model(model), text) as writing:
        return writing.finish()


def _score_page(
    form: ScoreForm, told: Sequence[Event] = (), error: TrainerError | None = None
) -> str:
    sent = request.method == "POST"
    shared = _models_for(*form.models)
    labels = {one.value: one.label for run in shared["models"] for one in run.options}
    scored = [
        Scored(labels.get(model, model), one) for model, one in zip(form.models, told, strict=False)
    ]
    return render_template(
        "score.html",
        **shared,
        values=form,
        text_error=form.error if sent else "",
        most=MOST_SCORED_CHARACTERS,
        alternatives_told=ALTERNATIVES,
        scored=scored,
        rows=[FigureRow(row) for row in zip(*(one.figures for one in scored), strict=True)],
        error=error,
    )


# ---------------------------------------------------------------------- the models of both


def _model(chosen: str) -> tuple[str, str]:
    run_id, _, checkpoint = chosen.partition(" ")
    return run_id, checkpoint or "latest"


def _models_for(*chosen: str) -> dict[str, Any]:
    wanted = [_model(model)[0] for model in chosen if model]
    found = choosable(services().store, wanted)
    return {
        "here": "playground",
        "live": True,
        "since": now(),
        "models": found,
        "none_saved": not any(one.options for one in found),
        "waiting": _without_checkpoint(found, wanted),
        "absent": [words for model in chosen if model and (words := _absence(found, model))],
    }


def _absence(models: Sequence[RunModels], chosen: str) -> str:
    """Say that a link names a model that there is not, and nothing where there is one."""
    run_id, checkpoint = _model(chosen)
    run = next((one for one in models if one.run_id == run_id), None)
    if run is None:
        return "" if run_id == "latest" else f"There is no run {run_id}. Another model is chosen."
    if checkpoint == "latest" or not run.options or chosen in [one.value for one in run.options]:
        return ""
    return f"{run.title} has no checkpoint {checkpoint}. Another model is chosen."


def _without_checkpoint(found: Sequence[RunModels], wanted: Sequence[str]) -> RunModels | None:
    """Return the run that was asked for and has not saved a checkpoint yet, if there is one."""
    return next((one for one in found if one.run_id in wanted and not one.options), None)
