"""Fixtures shared by all tests: an empty workspace, made-up run folders, the real WikiText-2."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from trainer import config as configuration
from trainer.config import Config
from trainer.inference.rendezvous import connect
from trainer.inference.service.lifetime import END_VARIABLE
from trainer.runs import Run, RunStore
from trainer.store.files import replace_file, write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.records import Annotations, Meta, State
from trainer.store.workspace import Workspace, new_run_id

WIKITEXT = Path(__file__).resolve().parents[2] / "shared" / "data" / "wikitext"
CREATED_AT = "2026-01-02T03:04:05.000Z"

MakeRun = Callable[..., Run]


@pytest.fixture(scope="session", autouse=True)
def model_services() -> Iterator[Path]:
    """Where the shared processes that hold models are met: a folder of these tests, and emptied."""
    with (
        tempfile.TemporaryDirectory(prefix="llmt-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("XDG_RUNTIME_DIR", folder)
        patch.setenv(END_VARIABLE, "20")
        yield Path(folder)
        for path in Path(folder).rglob("*.sock"):
            end_service(path)


def end_service(path: Path) -> None:
    """End the process that listens at a socket, if one does."""
    connection = connect(path)
    if connection is None:
        return
    # One that ends meanwhile, by itself or by this, may reset the connection instead of closing it.
    with connection, connection.makefile("rb") as events, contextlib.suppress(ConnectionResetError):
        hello = events.readline()
        if hello:
            os.kill(json.loads(hello)["pid"], signal.SIGKILL)
            events.read()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty workspace."""
    return tmp_path / "home"


@pytest.fixture
def store(home: Path) -> RunStore:
    """The runs of that workspace: none yet."""
    return RunStore(Workspace(home))


@pytest.fixture
def make_run(store: RunStore) -> MakeRun:
    """Make a run folder without a process: :func:`write_run` in that workspace."""
    return partial(write_run, store)


def write_run(
    store: RunStore,
    *,
    points: int = 0,
    name: str | None = None,
    tags: list[str] | None = None,
    config: Config | None = None,
    run_id: str | None = None,
    **state: Any,
) -> Run:
    """Make a run folder without a process.

    ``write_run(store, points=10, name="a", status="completed", step=10, ...)``: every further
    keyword is a field of the state. ``points`` rows of train_loss 5.0, 4.9, ... are stored.
    """
    paths = store.workspace.paths(run_id or new_run_id())
    paths.folder.mkdir(parents=True)
    resolved = configuration.resolved(config or Config())
    meta = Meta(run_id=paths.run_id, created_at=CREATED_AT, command=["test"], versions={})
    write_record(paths.meta, meta)
    write_record(paths.annotations, Annotations(name=name, tags=tags or []))
    replace_file(paths.config, configuration.to_toml(resolved, secrets=True).encode())
    fields = {"status": "completed", "created_at": CREATED_AT, "updated_at": CREATED_AT}
    write_record(paths.state, State(run_id=paths.run_id, **(fields | state)))
    if points:
        writer = MetricsWriter(paths.metrics)
        writer.write(("points", point_row(step)) for step in range(1, points + 1))
        writer.close()
    return store.get(paths.run_id)


def point_row(step: int) -> dict[str, Any]:
    """One row of the ``points`` table whose values can be worked out from the step."""
    return {
        "step": step,
        "epoch": step / 100,
        "tokens": step * 1000,
        "elapsed_seconds": step * 0.5,
        "train_loss": 5.0 - (step - 1) * 0.1 if step <= 40 else 1.0,
        "learning_rate": 0.001,
        "grad_norm": 1.0,
        "tokens_per_second": 2000.0,
    }


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """The real WikiText-2 in the hub's layout; without it those tests skip, and say so."""
    if WIKITEXT.is_dir():
        return WIKITEXT
    if os.environ.get("LLM_TRAINER_REQUIRE_WIKITEXT") == "1":
        pytest.fail(f"WikiText-2 is required here and is not at {WIKITEXT}")
    pytest.skip("WikiText-2 is not beside the checkout (../shared/data/wikitext)")
