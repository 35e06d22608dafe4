"""What all pages share: the blueprint, and the way back to where a form was sent from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from flask import Blueprint, Response, current_app, redirect, request, url_for
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as AnyResponse

from webapp.submissions import Submissions

pages = Blueprint("pages", __name__)

Answer = str | Response | AnyResponse
"""What a route of a page returns."""

MOST_UNDONE_AT_ONCE = 40

_SUBMISSIONS = "llm_trainer_submissions"

_VIEW = ("x", "smooth", "log", "logx", "from", "to", "overlay")
"""What the address of a run page says of its charts: static/js/chartview.js reads and writes it."""


@pages.record_once
def _remember_submissions(state: BlueprintSetupState) -> None:
    state.app.extensions[_SUBMISSIONS] = Submissions()


def submissions() -> Submissions:
    """Return what the forms of this dashboard have led to."""
    found: Submissions = current_app.extensions[_SUBMISSIONS]
    return found


def to_run(run_id: str) -> AnyResponse:
    """Show a run, its charts as the form says they were."""
    given = parse_qs(request.form.get("view", ""))
    view: dict[str, Any] = {name: given[name] for name in _VIEW if name in given}
    return redirect(url_for("pages.run_page", run_id=run_id, **view), 303)


def to_list() -> AnyResponse:
    """Return to the list as the form says it was, or to its start."""
    return redirect(list_address(), 303)


def list_address() -> str:
    """Return the address that a form wants to return to: a list, and never another site."""
    target = request.form.get("back", "/")
    return target if target.startswith("/?") or target == "/deleted" else "/"


def undo(run_ids: Sequence[str]) -> str:
    """Return the category of a message that offers to bring deleted runs back.

    The message waits in a cookie, which has no room for many: they wait on a page of their own.
    """
    return f"undo {' '.join(run_ids)}" if len(run_ids) <= MOST_UNDONE_AT_ONCE else "deleted"


def varying(page: str) -> Response:
    """Keep a whole page and its fragment apart in the browser's cache."""
    response = Response(page, mimetype="text/html")
    response.headers["Vary"] = "HX-Request"
    return response
