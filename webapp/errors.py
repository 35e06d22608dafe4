"""Every refusal of the dashboard in one shape: JSON for programs, a page for people, no trace."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, render_template, request
from jinja2 import TemplateError
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from trainer.errors import ConfigurationError, TrainerError
from webapp.jsonio import json_answer

log = logging.getLogger(__name__)

_PROGRAM_PATHS = ("/api/", "/v1/", "/socket.io/")


class ForbiddenError(TrainerError):
    """The request may come from a page that is not the dashboard's own."""

    kind = "forbidden"
    http_status = 403


class UnauthorizedError(TrainerError):
    """The dashboard is open to the network and the request carries no valid token."""

    kind = "unauthorized"
    http_status = 401


class InvalidFieldError(TrainerError):
    """The JSON is well formed, but a field has a wrong type or a value that is not allowed."""

    kind = "invalid"
    http_status = 422


class MediaTypeError(TrainerError):
    """The body is not JSON."""

    kind = "unsupported_media_type"
    http_status = 415


_HTTP_KINDS = {
    400: "usage",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}
_HTTP_WORDS = {
    404: ("There is nothing at this address.", "Begin at the first page, /."),
    405: ("This address does not take that method.", "The Allow header names those it takes."),
    413: ("The request is too large.", "Send less at once."),
}


def http_error(error: HTTPException) -> TrainerError:
    """Tell a refusal by the web framework itself: no such page, a method that is not allowed, …"""
    code = error.code or 500
    told = TrainerError(*_HTTP_WORDS.get(code, (error.description or error.name, "")))
    told.kind = _HTTP_KINDS.get(code, "error")
    told.http_status = code
    return told


def internal_error() -> TrainerError:
    """Tell of an error that nobody foresaw; the details are in the log alone."""
    told = TrainerError(
        "The dashboard met an error that it did not expect.",
        "Its log, in the terminal where it was started, says more. Training is not affected.",
    )
    told.kind = "internal"
    return told


def for_programs(path: str) -> bool:
    """Say whether what asks for this path expects JSON rather than a page."""
    return path.startswith(_PROGRAM_PATHS) or path in ("/api", "/v1", "/healthz")


def error_body(error: TrainerError) -> dict[str, Any]:
    """Return ``{"error": {"kind", "message", "hint"}}``; wrong settings are told one by one."""
    body: dict[str, Any] = dict(error.as_dict())
    if isinstance(error, ConfigurationError):
        body["faults"] = [{"key": fault.key, "problem": fault.problem} for fault in error.faults]
    return {"error": body}


def answer(error: TrainerError) -> Response:
    """Answer the current request with an error, in the form its sender expects."""
    if for_programs(request.path):
        return json_answer(error_body(error), error.http_status)
    return Response(_page(error), error.http_status, mimetype="text/html")


def _page(error: TrainerError) -> str:
    try:
        return render_template("error.html", status=error.http_status, error=error)
    except TemplateError:
        log.exception("The error page cannot be rendered.")
        return plain_page(error)


def plain_page(error: TrainerError) -> str:
    """Return a page that needs neither templates nor styles."""
    page = Markup(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        "<title>{title}</title><h1>{title}</h1><p>{message}</p><p>{hint}</p></html>"
    )
    title = error.kind.replace("_", " ").capitalize()
    return str(page.format(title=title, message=error.message, hint=error.hint))


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
