"""Several runs over each other."""

from __future__ import annotations

from flask import render_template, request

from trainer.errors import NotFoundError
from trainer.runs import Run
from webapp import presenting, services
from webapp.pages.blueprint import Answer, pages

MOST_COMPARED = 20


@pages.get("/compare")
def compare() -> Answer:
    """Several runs over each other: curves, final figures, and the settings that differ."""
    store = services().store
    asked = list(dict.fromkeys(request.args.getlist("run")))[:MOST_COMPARED]
    found = {name: _found(name) for name in asked}
    runs = [run for run in found.values() if run is not None]
    configs = [store.config(run.run_id) for run in runs]
    comparable = presenting.have_comparable_losses(configs)
    return render_template(
        "compare.html",
        here="runs",
        runs=runs,
        missing=[name for name, run in found.items() if run is None],
        comparable=comparable,
        figures=presenting.figure_rows(runs, comparable=comparable),
        differences=presenting.different_settings(configs),
        charts=presenting.CHARTS,
        page_data={"runs": [run.as_dict() for run in runs]},
    )


def _found(name: str) -> Run | None:
    """Return a run, or None for one that was deleted since the address was kept."""
    store = services().store
    try:
        return store.get(store.resolve(name))
    except NotFoundError:
        return None
