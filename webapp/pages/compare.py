"""Several runs over each other."""

from __future__ import annotations

from flask import Response, render_template, request

from trainer.errors import UsageError
from trainer.store.records import now
from webapp import presenting, services
from webapp.comparison import MOST_COMPARED, Comparison, as_csv, gather
from webapp.pages.blueprint import Answer, pages, varying

MOST_OFFERED = 12

CHARTS = (
    (presenting.CHARTS["loss"], "Validation loss", "val_loss"),
    (presenting.CHARTS["loss"], "Training loss", "train_loss"),
    (presenting.CHARTS["perplexity"], "Word perplexity", "val_word_perplexity"),
    (presenting.CHARTS["learning_rate"], "Learning rate", "learning_rate"),
)
"""What is drawn, the title above it, and the series of the metrics."""


@pages.get("/compare")
def compare() -> Answer:
    """Several runs over each other: curves, final figures, settings; for htmx the tables alone."""
    found = _asked_for()
    if "HX-Request" in request.headers:
        return varying(render_template("_compare_tables.html", compared=found))
    page = render_template(
        "compare.html",
        here="runs",
        live=True,
        since=now(),
        compared=found,
        most=MOST_COMPARED,
        charts=CHARTS,
        **_offers(found),
        page_data={"runs": [run.as_dict() for run in found.runs]},
    )
    return varying(page)


def _asked_for() -> Comparison:
    return gather(services().store, request.args.getlist("run"))


@pages.get("/compare/runs")
def runs_to_add() -> Answer:
    """The runs that can be put into the comparison: for htmx, under the search."""
    found = _asked_for()
    return render_template("_compare_offers.html", compared=found, **_offers(found))


def _offers(found: Comparison) -> dict[str, object]:
    """Find runs by what was searched for; a filter that cannot be read is told."""
    query = request.args.get("q", "").strip()
    try:
        listed = services().store.list(query=query, limit=MOST_OFFERED + MOST_COMPARED).runs
    except UsageError as error:
        return {"query": query, "offers": [], "offer_fault": error}
    taken = set(found.run_ids)
    offers = [run for run in listed if run.run_id not in taken][:MOST_OFFERED]
    return {"query": query, "offers": offers, "offer_fault": None}


@pages.get("/compare.csv")
def comparison_file() -> Answer:
    """The tables as a file: figures in full, and the settings that differ."""
    answer = Response(as_csv(_asked_for()), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="comparison.csv"'
    return answer
