"""What happens to a worker, and at which of its calls: the tests choose, its own process acts."""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Deed = Literal["kill", "stop"]
_SIGNALS: dict[str, signal.Signals] = {"kill": signal.SIGKILL, "stop": signal.SIGTERM}


@dataclass(frozen=True)
class Fate:
    """What happens in one life of a worker.

    ``function`` (``module:name`` or ``module:Class.name``) is that at whose ``call``-th call,
    counted from 1, the worker gets SIGKILL (``kill``) or is asked to stop (``stop``), before it
    or ``after`` it; with ``about``, only calls count in one of whose arguments that text stands
    (for a descriptor: in the path of its file). ``journal`` is a file to which each step adds
    its number and the time on the monotonic clock. ``alterations`` are names of functions of
    :mod:`tests.faults.alterations`.
    """

    deed: Deed = "kill"
    function: str | None = None
    call: int = 1
    after: bool = False
    about: str = ""
    journal: str | None = None
    alterations: tuple[str, ...] = ()


def submit_to(fate: Fate) -> None:
    """Prepare this process for its fate."""
    for name in fate.alterations:
        getattr(importlib.import_module("tests.faults.alterations"), name)()
    if fate.journal is not None:
        _keep_journal(fate.journal)
    if fate.function is not None:
        _strike_at(fate.function, fate)


def _strike_at(function: str, fate: Fate) -> None:
    calls = iter(range(1, sys.maxsize))

    def strike(*arguments: object) -> None:
        if fate.about and not any(fate.about in _name(each) for each in arguments):
            return
        if next(calls) == fate.call:
            os.kill(os.getpid(), _SIGNALS[fate.deed])

    wrap(function, **{"after" if fate.after else "before": strike})


def _name(argument: object) -> str:
    """Return the path that an argument stands for, or its text."""
    return os.readlink(f"/proc/self/fd/{argument}") if type(argument) is int else str(argument)


def _keep_journal(path: str) -> None:
    journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(_job: object, _trainee: object, done: Any, *_: object) -> None:
        os.write(journal, f"{done.step} {time.monotonic()}\n".encode())

    wrap("trainer.engine.reporting:record_step", after=note)


def _nothing(*_: object) -> None:
    return


def wrap(
    function: str,
    *,
    before: Callable[..., None] = _nothing,
    after: Callable[..., None] = _nothing,
) -> None:
    """Have something done, with the same arguments, before and after every call of a function."""

    def around(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            before(*arguments)
            result = original(*arguments, **named)
            after(*arguments)
            return result

        return wrapped

    replace(function, around)


def replace(function: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Put another function in a function's place, wherever the program has imported it to.

    Raises:
        AttributeError: there is no such function (any more).
    """
    module, _, path = function.partition(":")
    owner: Any = importlib.import_module(module)
    *owners, name = path.split(".")
    for each in owners:
        owner = getattr(owner, each)
    original = getattr(owner, name)
    other = make(original)
    setattr(owner, name, other)
    for imported in list(sys.modules.values()):
        names = vars(imported)
        if names.get("__name__", "").startswith("trainer.") and names.get(name) is original:
            setattr(imported, name, other)
