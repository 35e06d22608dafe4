"""What clients send, checked: JSON bodies and event payloads against a type, query parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
from flask import request

from trainer.errors import TrainerError, UsageError
from webapp.errors import InvalidFieldError, MediaTypeError

T = TypeVar("T")

_PROBLEM = re.compile(r"(?P<problem>.*?)(?: - at `\$?\.?(?P<place>.*)`)?", re.DOTALL)
_NAMED_FIELD = re.compile(
    r"Object (?P<what>contains unknown|missing required) field `(?P<field>.*)`"
)
_TRUE = frozenset({"true", "1", "yes"})
_FALSE = frozenset({"false", "0", "no"})


def json_body(kind: type[T]) -> T:
    """Read the body of the current request as JSON of a type; no body reads as ``{}``.

    Raises:
        MediaTypeError: there is a body that is not declared as JSON.
        UsageError: it is not JSON.
        InvalidFieldError: a field is unknown, missing, or has the wrong type.
    """
    body = request.get_data()
    if not body:
        return converted({}, kind)
    if request.mimetype != "application/json":
        raise MediaTypeError(
            f"The body is '{request.mimetype or 'of no type'}', not JSON.",
            "Send JSON with the header Content-Type: application/json.",
        )
    try:
        data = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"The body is not valid JSON: {error}.") from error
    return converted(data, kind)


def converted(data: Any, kind: type[T]) -> T:
    """Check decoded JSON against a type.

    Raises:
        InvalidFieldError: naming the field and what is wrong with it.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise told_in_words(str(error), kind) from error


@dataclass(frozen=True)
class FieldProblem:
    """What msgspec says is wrong with decoded JSON.

    Attributes:
        place: the field, as in ``prompt[0]``; empty where it is the whole.
        problem: in words of msgspec, without its quotation marks.
    """

    kind: Literal["unknown", "missing", "wrong"]
    place: str
    problem: str


def field_problem(message: str) -> FieldProblem:
    """Take msgspec's message apart."""
    parts = _PROBLEM.fullmatch(message)
    text, place = (parts["problem"], parts["place"]) if parts else (message, None)
    named = _NAMED_FIELD.fullmatch(text)
    if named is None:
        text = text.replace("`", "")
        return FieldProblem("wrong", place or "", text[:1].lower() + text[1:])
    field = f"{place}.{named['field']}" if place else named["field"]
    return FieldProblem("unknown" if "unknown" in named["what"] else "missing", field, text)


def told_in_words(message: str, kind: type[Any]) -> TrainerError:
    """Turn msgspec's message into a sentence that begins with the field."""
    found = field_problem(message)
    hint = f"The fields are: {', '.join(_fields(kind))}."
    if found.kind != "wrong":
        what = "is not a field" if found.kind == "unknown" else "is missing"
        return InvalidFieldError(f"'{found.place}' {what}.", hint)
    where = f"'{found.place}'" if found.place else "The JSON"
    return InvalidFieldError(f"{where} is wrong: {found.problem}.", hint)


def _fields(kind: type[Any]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


# ---------------------------------------------------------------------- query parameters


def text(args: Mapping[str, str], name: str) -> str | None:
    """Return a query parameter; an empty one counts as not given."""
    return args.get(name) or None


def whole_number(args: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """Return a query parameter as a whole number.

    Raises:
        UsageError: it is not one, or is out of range.
    """
    given = optional_whole_number(args, name, low, high)
    return default if given is None else given


def optional_whole_number(args: Mapping[str, str], name: str, low: int, high: int) -> int | None:
    """Return a query parameter as a whole number, or None when it is not given.

    Raises:
        UsageError: it is not one, or is out of range.
    """
    given = text(args, name)
    if given is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,18}", given) or not low <= int(given) <= high:
        raise UsageError(f"{name} = '{given[:40]}' is not a whole number from {low} to {high}.")
    return int(given)


def flag(args: Mapping[str, str], name: str) -> bool:
    """Return a query parameter as true or false; not given is false.

    Raises:
        UsageError: it is neither.
    """
    given = (text(args, name) or "false").lower()
    if given not in _TRUE | _FALSE:
        raise UsageError(f"{name} = '{given[:40]}' is neither true nor false.")
    return given in _TRUE


def names(args: Mapping[str, str], name: str) -> list[str]:
    """Return a query parameter as the names between its commas."""
    return [part.strip() for part in (text(args, name) or "").split(",") if part.strip()]
