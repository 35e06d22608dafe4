"""Counts what the fault tests tried, and prints the table of ``make soak``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.nursery import Launching, Nursery
from tests.faults.reach import Tally
from tests.faults.trial import Trial

HERE = Path(__file__).parent
_TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Callable[..., None]:
    """Count tries of a fault: ``tally(row, tries, held, note="")``; the rows: :mod:`.reach`.

    The call fails when not all tries held.
    """
    return _TALLY.add


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that forks workers."""
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def trial(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A workspace for the tests of a module, whose workers the nursery starts.

    Whatever still trains at their end is killed.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.launch.subprocess", Launching(nursery))
        yield Trial(nursery, tmp_path_factory.mktemp("home"))
    for life in nursery.lives:
        life.kill()
    nursery.lives.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder, so that ``-m 'soak or faults'`` takes them in."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("faults")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where the whole reach is required, tests that were left out or skipped are a failure too."""
    if _reach_is_required() and _TALLY.shortfalls() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table, where anything was counted."""
    if not _TALLY.tries:
        return
    terminalreporter.section("what the fault tests tried")
    for line in _TALLY.table():
        terminalreporter.write_line(line)
    if _reach_is_required():
        for fault in _TALLY.shortfalls():
            terminalreporter.write_line(f"NOT REACHED: {fault}", red=True)


def _reach_is_required() -> bool:
    return os.environ.get("LLM_TRAINER_REQUIRE_REACH") == "1"
