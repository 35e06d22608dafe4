"""Every refusal of the dashboard in one shape: its kind, status, words and JSON."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import HTTPException

from trainer.errors import ConfigurationError, TrainerError
from webapp.openai.refusals import RETRY_AFTER_SECONDS, is_openai, refusal_body

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
_TITLES = {
    401: "Token needed",
    403: "Not allowed",
    404: "Not found",
    405: "Not allowed",
    409: "Not now",
    413: "Too large",
    503: "Not available just now",
}


def title_of(status: int) -> str:
    """Return what stands above an error on its page."""
    return _TITLES.get(status, "That did not work" if status < 500 else "Something went wrong")


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


def refusal_for(path: str, error: TrainerError) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and the headers of a refusal, in the shape that a path's programs know."""
    body = refusal_body(error) if is_openai(path) else error_body(error)
    busy = error.http_status == 429
    return body, {"Retry-After": str(RETRY_AFTER_SECONDS)} if busy else {}


def error_body(error: TrainerError) -> dict[str, Any]:
    """Return ``{"error": {"kind", "message", "hint"}}``; wrong settings are told one by one."""
    body: dict[str, Any] = dict(error.as_dict())
    if isinstance(error, ConfigurationError):
        body["faults"] = [{"key": fault.key, "problem": fault.problem} for fault in error.faults]
    return {"error": body}
