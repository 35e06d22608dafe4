"""Refusals in the shape of OpenAI's interface: what its clients turn into their own exceptions."""

from __future__ import annotations

from typing import Any

from trainer.errors import CheckpointError, NotFoundError, TrainerError

RETRY_AFTER_SECONDS = 1
"""When to ask again what was refused for too much at once; clients obey it by themselves."""

_CODES = {
    400: "invalid_value",
    401: "invalid_api_key",
    404: "unknown_url",
    429: "rate_limit_exceeded",
}
_TYPES = {429: "requests"}
_MODELS = "GET /v1/models lists the models."
_NOTHING_HERE = (
    "There is nothing at this address. These are base models: they answer GET /v1/models and "
    "POST /v1/completions."
)


class InvalidRequestError(TrainerError):
    """A field of the request is wrong.

    Args:
        param: which; None where it is the request as a whole.
        code: what is wrong with it, for programs.
    """

    kind = "invalid"
    http_status = 400

    def __init__(
        self, message: str, param: str | None = None, code: str = "invalid_value", hint: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.param = param
        self.code = code


class ModelNotFoundError(InvalidRequestError):
    """There is no such run, or it has no such checkpoint."""

    kind = "not_found"
    http_status = 404

    def __init__(self, message: str) -> None:
        super().__init__(message, "model", "model_not_found", _MODELS)


def is_openai(path: str) -> bool:
    """Say whether who asks for this path expects the shapes of OpenAI's interface."""
    return path == "/v1" or path.startswith("/v1/")


def refusal_body(error: TrainerError) -> dict[str, Any]:
    """Return ``{"error": {"message", "type", "param", "code"}}``."""
    status = error.http_status
    told = {
        "message": str(error),
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": None,
        "code": None if status >= 500 else _CODES.get(status, error.kind),
    }
    if isinstance(error, InvalidRequestError):
        told |= {"param": error.param, "code": error.code}
    elif isinstance(error, NotFoundError | CheckpointError):
        code = "model_not_found" if status == 404 else "model_damaged"
        told |= {"message": f"{error.message} {_MODELS}", "param": "model", "code": code}
    elif status == 404:
        told["message"] = _NOTHING_HERE
    return {"error": told}
