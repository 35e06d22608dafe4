"""The list of runs: the page, its table alone for htmx, and what its scripts ask for."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

from trainer.errors import UsageError
from trainer.filtering import FIELDS, read_filter
from trainer.runs import RunPage
from trainer.store.records import now
from webapp import presenting, services
from webapp.jsonio import json_answer
from webapp.pages.blueprint import Answer, pages, varying
from webapp.presenting import ListView
from webapp.submissions import Submissions

SPARKLINES_A_REQUEST = 25
COLUMNS_COOKIE = "llm_trainer_columns"
COLUMNS_KEPT_SECONDS = 365 * 24 * 3600

EXAMPLES = (
    ("status:failed,interrupted", "Runs that ended before their end"),
    ("perplexity<100 created<2d", "Good ones of the last two days"),
    ("tag:lr-sweep -tag:junk", "With one tag, without another"),
    ('name:"my run" loss<=3.2', "By a name with a space, and by the loss"),
    ("dataset:wiki parameters>1M", "Larger models on one data set"),
    ("created>=2026-01-31 elapsed>1h", "Since a day (UTC), and trained for long"),
)
"""Filters to try, and what they show."""


@pages.get("/")
def run_list() -> Answer:
    """All runs as one table; for htmx the table alone."""
    view = ListView.from_query(request.args.to_dict(flat=False), _columns_before())
    since = now()
    page, fault = _found(view)
    shown = {
        "view": view,
        "page": page,
        "fault": fault,
        "since": since,
        "sparkline_of": services().sparklines.known,
    }
    if request.headers.get("HX-Request"):
        return _fragment(view, shown)
    whole = render_template(
        "runs.html",
        here="runs",
        live=True,
        first_run=not page.of and not view.filtered and not services().store.look().runs,
        tags=presenting.tags_of(page.of),
        status_filters=presenting.STATUS_FILTERS,
        all_columns=presenting.COLUMNS,
        always_shown=presenting.ALWAYS_SHOWN,
        fields=FIELDS.values(),
        examples=EXAMPLES,
        submission=Submissions.new_token(),
        **shown,
    )
    return _keeping_columns(varying(whole), view)


def _found(view: ListView) -> tuple[RunPage, UsageError | None]:
    """List the runs of a view; of a filter with a mistake what is understood, and the mistake."""
    query, fault = read_filter(view.query)
    page = services().store.list(
        status=view.status or None,
        query=query,
        tag=view.tag or None,
        sort=view.sort,
        limit=view.rows,
        cursor=view.cursor or None,
        archived=view.archived,
    )
    return page, fault


def _fragment(view: ListView, shown: dict[str, Any]) -> Response:
    answer = varying(render_template("_runs.html", fragment=True, **shown))
    answer.headers["HX-Replace-Url"] = view.here
    return _keeping_columns(answer, view)


@pages.get("/runs/matching")
def matching_runs() -> Answer:
    """``{"runs": [run_id]}``: all that the address matches, for a choice of more than a page."""
    view = ListView.from_query(request.args.to_dict(flat=False))
    runs = services().store.list_all(
        status=view.status or None,
        query=view.query,
        tag=view.tag or None,
        sort=view.sort,
        archived=view.archived,
    )
    return json_answer({"runs": [run.run_id for run in runs]})


# ---------------------------------------------------------------------- columns


def _columns_before() -> list[str]:
    return request.cookies.get(COLUMNS_COOKIE, "").split()


def _keeping_columns(answer: Response, view: ListView) -> Response:
    """Remember the columns that an address has named, for those that name none."""
    if "show" in request.args:
        answer.set_cookie(
            COLUMNS_COOKIE,
            " ".join(view.show),
            max_age=COLUMNS_KEPT_SECONDS,
            httponly=True,
            samesite="Strict",
        )
    return answer


# ---------------------------------------------------------------------- sparklines


@pages.get("/runs/sparklines")
def sparklines() -> Answer:
    """``?run=…&run=…`` → ``{run_id: "step:loss step:loss …"}`` of at most 25 runs."""
    chosen = request.args.getlist("run")
    if len(chosen) > SPARKLINES_A_REQUEST:
        raise UsageError(f"At most {SPARKLINES_A_REQUEST} runs can be asked for at once.")
    runs = services().store.look().runs
    there = [runs[run_id] for run_id in chosen if run_id in runs]
    read = services().sparklines.read
    return json_answer({run.run_id: presenting.sparkline_data(read(run)) for run in there})
