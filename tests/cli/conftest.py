"""The program called in this process, and runs that no worker trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from trainer import launch
from trainer.cli import application
from trainer.store.lock import RunLock
from trainer.store.queue import Place


@dataclass(frozen=True)
class Answer:
    """What a command line has answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Call = Callable[..., Answer]


@pytest.fixture
def call(home: Path) -> Call:
    """Call the program in this process, on the empty workspace: ``call("status", "--json")``."""

    def run(*arguments: str, stdin: str | None = None, columns: int = 80) -> Answer:
        runner = CliRunner(env={"LLM_TRAINER_HOME": str(home), "COLUMNS": str(columns)})
        result = runner.invoke(application, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make runs that nothing trains: the launcher lets go of them instead of starting a worker."""

    def let_go(_: object, __: object, lock: RunLock, place: Place, ___: str | None = None) -> None:
        lock.release()
        place.release()

    monkeypatch.setattr(launch, "_start_worker", let_go)


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """A text that is large enough to train on."""
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog.\n" * 2000)
    return path
