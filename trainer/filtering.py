"""The language in which people say which runs they want to see.

Words must all occur in a run's id, name, tags, dataset, device or status; ``field:value`` and
``field<number`` compare one thing of it. A minus before a term turns it round, commas between
values mean any of them, and quotation marks keep a text together::

    baseline status:failed,interrupted tag:lr-sweep perplexity<100 created<2d -tag:junk
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, get_args

from trainer.errors import UsageError
from trainer.formats import age_seconds, parse_time
from trainer.store.records import Status

if TYPE_CHECKING:
    from trainer.runs import Run

MAX_QUERY_LENGTH = 1000
STATUSES: tuple[str, ...] = (*get_args(Status), "active")

Test = Callable[["Run"], bool]

_TERM = re.compile(
    r"""\s*(?P<minus>-)?
        (?:(?P<field>[A-Za-z_]+)(?P<sign><=|>=|!=|[:=<>]))?
        (?P<value>(?:"[^"]*(?:"|$)|[^\s"])*)""",
    re.VERBOSE,
)
_NUMBER = re.compile(
    r"(?P<digits>[0-9]{1,18}(?:\.(?P<decimals>[0-9]{1,18}))?)"
    r"(?:e(?P<power>[+-]?[0-9]{1,2}))?(?P<unit>[kMB]?)"
)
_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]+)?)(?P<unit>s|min|m|h|d|w)")
_SCALES = {"": 0, "k": 3, "M": 6, "B": 9}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Filter:
    """What a run must fulfil to be shown."""

    tests: tuple[Test, ...] = ()

    def matches(self, run: Run) -> bool:
        """Say whether a run fulfils all of it."""
        return all(test(run) for test in self.tests)


EVERY_RUN = Filter()


@dataclass(frozen=True)
class Field:
    """Something of a run that can be asked for by its name.

    Attributes:
        help: what it is, for people.
        example: a term that uses it.
        compile: makes a test from the sign and the value; it raises UsageError.
    """

    name: str
    help: str
    example: str
    compile: Callable[[Field, str, str], Test]


def parse_filter(text: str) -> Filter:
    """Read what a person typed; nothing typed lets every run through.

    Raises:
        UsageError: there is no such field, or its value cannot be one; with what is allowed.
    """
    understood, fault = read_filter(text)
    if fault is not None:
        raise fault
    return understood


def as_filter(query: str | Filter) -> Filter:
    """Return a filter that was read already, or read it.

    Raises:
        UsageError: as :func:`parse_filter`.
    """
    return parse_filter(query) if isinstance(query, str) else query


def read_filter(text: str) -> tuple[Filter, UsageError | None]:
    """Read what a person is still typing: what is understood of it, and the first mistake."""
    if len(text) > MAX_QUERY_LENGTH:
        return EVERY_RUN, UsageError(
            f"The filter is longer than {MAX_QUERY_LENGTH:,} characters.", "Use fewer words."
        )
    tests: list[Test] = []
    fault: UsageError | None = None
    for term in _TERM.finditer(text):
        if not (term["value"] or term["field"]):
            continue
        try:
            tests.append(_test(term))
        except UsageError as error:
            fault = fault or error
    return Filter(tuple(tests)), fault


def _test(term: re.Match[str]) -> Test:
    minus, name, sign, value = term.group("minus", "field", "sign", "value")
    test = _word(value) if name is None else _comparison(name, sign, value)
    return partial(_is_not, test) if minus else test


def _is_not(test: Test, run: Run) -> bool:
    return not test(run)


def _word(value: str) -> Test:
    word = unquoted(value).lower()
    return lambda run: word in run.search_text


def _comparison(name: str, sign: str, value: str) -> Test:
    field = FIELDS.get(ALIASES.get(name.lower(), name.lower()))
    if field is None:
        raise UsageError(
            f"'{name[:40]}' is not a field.{_guess(name.lower())}",
            f"There are: {', '.join(FIELDS)}. Put a text with '{sign}' into quotation marks.",
        )
    if not unquoted(value):
        raise UsageError(f"'{name}{sign}' lacks a value.", f"Write it like {field.example}.")
    return field.compile(field, sign, value)


def _guess(name: str) -> str:
    near = difflib.get_close_matches(name, [*FIELDS, *ALIASES], n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def unquoted(value: str) -> str:
    """Take the quotation marks off a value."""
    return value.replace('"', "")


def _alternatives(value: str) -> list[str]:
    """Split a value at its commas, unless quotation marks keep it together."""
    if '"' in value:
        return [unquoted(value).lower()]
    return [part.lower() for part in value.split(",") if part]


# ---------------------------------------------------------------------- fields with a text


def _text(find: Callable[[Run], str | None], *, whole: bool = False) -> Callable[..., Test]:
    """Compare a text, or look whether it occurs in what the run has."""

    def fits(run: Run, wanted: list[str]) -> bool:
        found = (find(run) or "").lower()
        return any(text == found if whole else text in found for text in wanted)

    def compiled(field: Field, sign: str, value: str) -> Test:
        return _signed(field, sign, partial(fits, wanted=_alternatives(value)))

    return compiled


def _tags(field: Field, sign: str, value: str) -> Test:
    wanted = set(_alternatives(value))
    return _signed(
        field, sign, lambda run: any(tag.lower() in wanted for tag in run.annotations.tags)
    )


def _one_of(choices: dict[str, Test]) -> Callable[..., Test]:
    """Test for conditions that have names."""

    def compiled(field: Field, sign: str, value: str) -> Test:
        wanted = _alternatives(value)
        for name in wanted:
            if name not in choices:
                raise UsageError(
                    f"'{name[:40]}' is nothing that '{field.name}' can be.",
                    f"There are: {', '.join(choices)}.",
                )
        tests = [choices[name] for name in wanted]
        return _signed(field, sign, lambda run: any(test(run) for test in tests))

    return compiled


def _signed(field: Field, sign: str, test: Test) -> Test:
    """Turn a test round for ``!=``; a text is neither less nor more than another."""
    if sign in _ORDERS:
        raise UsageError(
            f"'{field.name}' cannot be compared by '{sign}'.", f"Write it like {field.example}."
        )
    return partial(_is_not, test) if sign == "!=" else test


# ---------------------------------------------------------------------- fields with a number


def _number(find: Callable[[Run], float | None]) -> Callable[..., Test]:
    """Compare a number; an equal one is equal in all digits that were written."""

    def compiled(field: Field, sign: str, value: str) -> Test:
        return _compared(find, sign, *read_number(field, value))

    return compiled


def read_number(field: Field, value: str) -> tuple[float, float]:
    """Read ``12.4M`` as 12,400,000 and half of its last digit, 50,000.

    Raises:
        UsageError: it is not a number.
    """
    match = _NUMBER.fullmatch(unquoted(value))
    if match is None:
        raise UsageError(
            f"'{value[:40]}' is not a number for '{field.name}'.",
            f"Write it like {field.example}; k, M and B stand for thousands, millions, billions.",
        )
    power = int(match["power"] or 0) + _SCALES[match["unit"]]
    half = 0.5 * 10.0 ** (power - len(match["decimals"] or ""))
    return float(f"{match['digits']}e{power}"), half


def _compared(
    find: Callable[[Run], float | None], sign: str, wanted: float, tolerance: float
) -> Test:
    """Make the test of a number; a run that does not have it yet never passes."""

    def test(run: Run) -> bool:
        found = find(run)
        if found is None:
            return False
        if sign in _ORDERS:
            return _ORDERS[sign](found, wanted)
        return (abs(found - wanted) <= tolerance) != (sign == "!=")

    return test


def _duration(find: Callable[[Run], float | None]) -> Callable[..., Test]:
    """Compare a span of time with one that has a unit."""

    def compiled(field: Field, sign: str, value: str) -> Test:
        seconds, tolerance = _read_duration(field, value)
        return _compared(find, sign, seconds, tolerance)

    return compiled


def _read_duration(field: Field, value: str) -> tuple[float, float]:
    match = _DURATION.fullmatch(unquoted(value))
    if match is None:
        raise UsageError(
            f"'{value[:40]}' is not a span of time for '{field.name}'.",
            f"Write it like {field.example}, in s, min, h, d or w.",
        )
    unit = _SECONDS[match["unit"]]
    return float(match["number"]) * unit, unit / 2


def _moment(find: Callable[[Run], str]) -> Callable[..., Test]:
    """Compare a time with how long ago it was (``<2d``) or with a day (``>=2026-01-31``)."""

    def compiled(field: Field, sign: str, value: str) -> Test:
        if _DURATION.fullmatch(unquoted(value)):
            return _compared(
                lambda run: age_seconds(find(run)), sign, *_read_duration(field, value)
            )
        first = _read_day(field, value)
        days = (first, first + timedelta(days=1))
        return lambda run: _is_of_day(parse_time(find(run)), sign, *days)

    return compiled


def _read_day(field: Field, value: str) -> datetime:
    try:
        return datetime.strptime(unquoted(value), "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(
            f"'{value[:40]}' is no time for '{field.name}'.",
            f"Write it like {field.example}, or with a day (UTC) like {field.name}>=2026-01-31.",
        ) from None


def _is_of_day(at: datetime, sign: str, first: datetime, next_day: datetime) -> bool:
    """Say whether a time lies as asked to a day, which is as a whole equal to itself."""
    if sign in ("<", ">="):
        return (at < first) == (sign == "<")
    if sign in ("<=", ">"):
        return (at < next_day) == (sign == "<=")
    return (first <= at < next_day) != (sign == "!=")


# ---------------------------------------------------------------------- all fields


_STATUS_TESTS: dict[str, Test] = {
    **{name: partial(lambda run, status: run.status == status, status=name) for name in STATUSES},
    "active": lambda run: run.active,
    "paused": lambda run: run.paused,
}
_CONDITIONS: dict[str, Test] = {
    "pinned": lambda run: run.annotations.pinned,
    "tagged": lambda run: bool(run.annotations.tags),
    "named": lambda run: bool(run.annotations.name),
    "damaged": lambda run: bool(run.damage),
    "warned": lambda run: bool(run.state.warnings),
}

FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("status", "How it stands; several with commas.", "status:failed,interrupted",
              _one_of(_STATUS_TESTS)),
        Field("tag", "Carries this tag.", "tag:lr-sweep", _tags),
        Field("name", "Its name holds this text.", 'name:"my run"', _text(lambda run: run.title)),
        Field("id", "Its run id holds this text.", "id:20260131", _text(lambda run: run.run_id)),
        Field("dataset", "What it reads.", "dataset:wiki", _text(lambda run: run.state.dataset)),
        Field("device", "What it trains on.", "device:cuda",
              _text(lambda run: f"{run.state.device or ''} {run.state.device_name or ''}")),
        Field("precision", "Number format.", "precision:bf16",
              _text(lambda run: run.state.precision, whole=True)),
        Field("notes", "Its notes hold this text.", "notes:baseline",
              _text(lambda run: run.annotations.notes)),
        Field("error", "Why it ended holds this text.", "error:memory",
              _text(lambda run: run.state.error.message if run.state.error else None)),
        Field("is", f"One of {', '.join(_CONDITIONS)}.", "is:pinned", _one_of(_CONDITIONS)),
        Field("loss", "Training loss at the last step.", "loss<=3.2",
              _number(lambda run: run.state.train_loss)),
        Field("val_loss", "Best validation loss.", "val_loss<3.5",
              _number(lambda run: run.state.best_val_loss)),
        Field("perplexity", "Best word perplexity.", "perplexity<100",
              _number(lambda run: run.state.best_val_word_perplexity)),
        Field("parameters", "Size of the model.", "parameters>1M",
              _number(lambda run: run.state.parameters)),
        Field("tokens", "Tokens trained on.", "tokens>=10M",
              _number(lambda run: run.state.tokens)),
        Field("step", "Steps done.", "step>1k", _number(lambda run: run.state.step)),
        Field("epoch", "The epoch it has come to.", "epoch>=2",
              _number(lambda run: run.state.epoch)),
        Field("speed", "Tokens a second.", "speed>5k",
              _number(lambda run: run.state.tokens_per_second)),
        Field("elapsed", "Time spent on training.", "elapsed>2h",
              _duration(lambda run: run.state.elapsed_seconds)),
        Field("created", "How long ago it was made.", "created<2d",
              _moment(lambda run: run.state.created_at)),
        Field("updated", "How long ago it was written last.", "updated<1h",
              _moment(lambda run: run.state.updated_at)),
    )
}  # fmt: skip
"""All that can be compared, in the order in which it is explained."""

ALIASES = {"params": "parameters", "ppl": "perplexity", "text": "dataset", "time": "elapsed"}
