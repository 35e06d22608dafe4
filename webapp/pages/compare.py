"""Several runs over each other."""

from __future__ import annotations

from flask import render_template, request

from webapp import presenting, services
from webapp.pages.blueprint import Answer, pages

MOST_COMPARED = 20


@pages.get("/compare")
def compare() -> Answer:
    """Several runs over each other: curves, final figures, and the settings that differ."""
    store = services().store
    asked = list(dict.fromkeys(request.args.getlist("run")))[:MOST_COMPARED]
    runs = [store.get(store.resolve(run_id)) for run_id in asked]
    configs = [store.config(run.run_id) for run in runs]
    return render_template(
        "compare.html",
        here="runs",
        runs=runs,
        figures=presenting.figure_rows(runs),
        differences=presenting.different_settings(configs),
        charts=presenting.CHARTS,
        page_data={"runs": [run.as_dict() for run in runs]},
    )
