"""The page on which trained models write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import make_response, render_template, request

from trainer.errors import TrainerError
from webapp import services
from webapp.pages.blueprint import Answer, pages
from webapp.writing_form import WRITING_FIELDS, WritingForm

MOST_WRITERS = 200


@pages.get("/playground")
def playground() -> Answer:
    """Write with any checkpoint."""
    chosen = f"{request.args.get('run', '')} {request.args.get('checkpoint', '')}".strip()
    return _playground_page(WritingForm(model=chosen))


@pages.post("/playground")
def write_text() -> Answer:
    """Write a text and show it when it is done: for browsers without scripts."""
    form = WritingForm.submitted(request.form)
    if form.errors:
        return make_response(_playground_page(form), 422)
    run_id, _, checkpoint = form.model.partition(" ")
    try:
        settings = form.settings()
        with services().writers.begin("page", run_id, checkpoint or "latest", settings) as writing:
            return _playground_page(form, written=writing.finish())
    except TrainerError as error:
        return make_response(_playground_page(form, error=error), error.http_status)


def _playground_page(
    form: WritingForm,
    written: Mapping[str, Any] | None = None,
    error: TrainerError | None = None,
) -> str:
    store = services().store
    writers = [
        (run, checkpoints)
        for run in store.list(limit=MOST_WRITERS).runs
        if (checkpoints := store.checkpoints(run.run_id))
    ]
    return render_template(
        "playground.html",
        here="playground",
        live=True,
        writers=writers,
        values=form,
        fields=WRITING_FIELDS,
        written=written,
        error=error,
    )
