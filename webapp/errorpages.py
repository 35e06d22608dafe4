"""How refusals are answered: JSON for programs, a page for people, never a trace."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import takewhile

from flask import Flask, Response, render_template, request
from jinja2 import TemplateError
from werkzeug.exceptions import HTTPException

from trainer.errors import NoSuchRunError, TrainerError
from webapp.context import services
from webapp.errors import for_programs, http_error, internal_error, refusal_for, title_of
from webapp.jsonio import json_answer
from webapp.plainpage import plain_page

log = logging.getLogger(__name__)

_SAME_DAY = len("20260102")


def answer(error: TrainerError) -> Response:
    """Answer the current request with an error, in the form its sender expects."""
    if for_programs(request.path):
        body, headers = refusal_for(request.path, error)
        response = json_answer(body, error.http_status)
        response.headers.update(headers)
        return response
    return Response(_page(error), error.http_status, mimetype="text/html")


def _page(error: TrainerError) -> str:
    status = error.http_status
    try:
        return render_template(
            "error.html",
            status=status,
            title=title_of(status),
            message=error.message,
            hint=_hint(error),
            closest=_closest(),
        )
    except TemplateError:
        log.exception("The error page cannot be rendered.")
        return plain_page(error, title=title_of(status))


def _hint(error: TrainerError) -> str:
    """Return what to do about an error in a browser; of a missing run, without the terminal."""
    if isinstance(error, NoSuchRunError):
        return "It may have been deleted, or belong to another workspace."
    return error.hint


def _closest() -> list[str]:
    """Return the runs whose ids are most like one in the address that names no run."""
    asked = (request.view_args or {}).get("run_id")
    if asked is None:
        return []
    try:
        return closest_ids(asked, services().store.workspace.run_ids())
    except OSError:
        return []  # The workspace cannot be read, which the error tells already.


def closest_ids(asked: str, run_ids: Iterable[str], most: int = 3) -> list[str]:
    """Return those ids that begin like ``asked``, the likest first; itself is none of them.

    An id begins with the day of its run: what does not agree in that is not alike.
    """
    alike = [(_alike(asked, run_id), run_id) for run_id in run_ids if run_id != asked]
    best = sorted((pair for pair in alike if pair[0] >= _SAME_DAY), reverse=True)
    return [run_id for _, run_id in best[:most]]


def _alike(one: str, other: str) -> int:
    """Return with how many equal letters two texts begin."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def register(app: Flask) -> None:
    """Install the handlers for expected, HTTP and unexpected errors."""

    @app.errorhandler(TrainerError)
    def refused(error: TrainerError) -> Response:
        return answer(error)

    @app.errorhandler(HTTPException)
    def failed(error: HTTPException) -> Response:
        response = answer(http_error(error))
        allowed = dict(error.get_headers()).get("Allow")
        if allowed:
            response.headers["Allow"] = allowed
        return response

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("%s %s failed.", request.method, request.path, exc_info=error)
        return answer(internal_error())
