"""The form that goes on with a run: from which checkpoint, how far, and what will happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, flash, make_response, render_template, request

from trainer.config import Config
from trainer.errors import ConflictError, NotFoundError, StoreError, TrainerError, UsageError
from trainer.launch import owned_elsewhere
from trainer.resumption import chosen_checkpoint, source_words
from trainer.runs import Run
from trainer.store.checkpoints import Checkpoint, undescribed
from webapp import presenting, services
from webapp.pages.blueprint import Answer, pages, submissions, to_run
from webapp.submissions import Submissions


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
    config, damage = _configuration(run_id)
    untold = undescribed(run.paths.checkpoints)
    source = given.get("from") or _newest(checkpoints, untold)
    more_epochs = given.get("more_epochs", _suggested(run, config)).strip()
    page = render_template(
        template,
        here="runs",
        run=run,
        checkpoints=checkpoints,
        untold=untold,
        config=config,
        damage=damage,
        plan=presenting.plan_to_extend(run.state, config) if config else "",
        owner=_owner(run),
        source=source,
        more_epochs=more_epochs,
        sentence=_sentence(run, config, checkpoints, source, more_epochs)
        if source not in untold
        else f"Goes on from {source}.pt, once it is found whole.",
        now_anyway=given.get("now_anyway") == "true",
        error=error,
        at_epochs=isinstance(error, UsageError | ConflictError) and not run.active,
        submission=given.get("submission") or Submissions.new_token(),
    )
    return make_response(page, 422 if error else 200)


def _configuration(run_id: str) -> tuple[Config | None, StoreError | None]:
    try:
        return services().store.config(run_id), None
    except StoreError as error:
        return None, error


def _newest(checkpoints: Sequence[Checkpoint], untold: Sequence[str]) -> str:
    names = [*(checkpoint.name for checkpoint in checkpoints), *untold]
    return "latest" if "latest" in names or not names else names[0]


def _suggested(run: Run, config: Config | None) -> str:
    return "1" if run.status == "completed" and config is not None else "0"


def _owner(run: Run) -> ConflictError | None:
    """Say who holds a run that is active."""
    return owned_elsewhere(run.paths) if run.active else None


def _sentence(
    run: Run,
    config: Config | None,
    checkpoints: Sequence[Checkpoint],
    source: str,
    more_epochs: str,
) -> str:
    chosen = next((one for one in checkpoints if one.name == source), None)
    if chosen is None:
        return "Choose a checkpoint."
    try:
        count = _whole_number(more_epochs)
    except UsageError:
        return "More epochs must be a whole number, 0 or more."
    return presenting.resume_sentence(run.state, config, chosen, count)


@pages.post("/runs/<run_id>/resume")
def resume_run(run_id: str) -> Answer:
    """Go on with a run, or say beside the form why that cannot be."""
    given: dict[str, Any] = request.form.to_dict()
    if "preview" in given:
        return _resume_page(run_id, given, "resume.html")
    source = given.get("from", "latest")
    chosen = chosen_checkpoint(services().store.get(run_id).paths, source)
    try:
        more_epochs = _whole_number(given.get("more_epochs", "0"))
        now_anyway = given.get("now_anyway") == "true"

        def go_on() -> str:
            services().store.resume(
                run_id, more_epochs=more_epochs, source=source, now_anyway=now_anyway
            )
            return run_id

        submissions().once(given.get("submission", ""), go_on, (run_id, source, more_epochs))
    except NotFoundError:
        raise
    except TrainerError as error:
        return _resume_page(run_id, given, "resume.html", error)
    run = services().store.get(run_id)
    words = f"Going on from {source_words(source, chosen, None)}."
    flash(presenting.start_words(run, words), "done")
    return to_run(run_id)


def _whole_number(text: str) -> int:
    stripped = text.strip() or "0"
    if not (stripped.isascii() and stripped.isdecimal() and len(stripped) <= 9):
        raise UsageError(f"'{text[:40]}' is not a whole number of epochs.", "Give 0 or more.")
    return int(stripped)
