"""Stores of older versions go on; those of newer ones are refused in words and harm nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeRun, point_row
from trainer import config as configuration
from trainer.config import Config
from trainer.errors import ConfigurationError, DamagedError, NewerStoreError, StoreError
from trainer.runs import RunStore
from trainer.store import files
from trainer.store.files import read_record
from trainer.store.metrics import (
    SCHEMA_VERSION,
    MetricsReader,
    MetricsWriter,
    open_or_replace,
)
from trainer.store.records import State

VERSION_1 = """
CREATE TABLE points (
    step INTEGER PRIMARY KEY, epoch REAL, tokens INTEGER, elapsed_seconds REAL,
    train_loss REAL, learning_rate REAL, grad_norm REAL, tokens_per_second REAL
);
CREATE TABLE evaluations (
    step INTEGER PRIMARY KEY, epoch REAL, tokens INTEGER, elapsed_seconds REAL,
    val_loss REAL, val_word_perplexity REAL, val_bits_per_byte REAL, seconds REAL
);
CREATE TABLE samples (
    id INTEGER PRIMARY KEY, step INTEGER, at TEXT, prompt TEXT, text TEXT
);
CREATE TABLE system (
    id INTEGER PRIMARY KEY, at TEXT, elapsed_seconds REAL,
    gpu_utilization REAL, gpu_memory_bytes INTEGER, gpu_memory_total_bytes INTEGER,
    gpu_temperature_c REAL, gpu_power_w REAL, cpu_percent REAL, ram_bytes INTEGER,
    process_ram_bytes INTEGER
);
CREATE TABLE events (
    id INTEGER PRIMARY KEY, at TEXT, step INTEGER, kind TEXT, level TEXT, message TEXT
);
CREATE INDEX samples_by_step ON samples(step);
PRAGMA user_version=1;
"""
"""The first version as it was released; never to be changed."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of version 1 with two points and an event."""
    path = tmp_path / "metrics.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1)
    for step in (1, 2):
        row = point_row(step)
        marks = ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO points VALUES ({marks})", tuple(row.values()))
    connection.execute("INSERT INTO events (kind, message) VALUES ('saved', 'as it was')")
    connection.commit()
    connection.close()
    return path


def content(path: Path) -> tuple[list[int], list[str], list[dict[str, Any]]]:
    with MetricsReader(path) as reader:
        steps = reader.series(["train_loss"])["series"]["train_loss"]["step"]
        return steps, [event["message"] for event in reader.events()], reader.sittings()


def test_viewers_read_version_1_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    assert content(old) == ([1, 2], ["as it was"], [])
    assert old.read_bytes() == before


def test_the_worker_brings_version_1_up_to_date_and_keeps_everything(old: Path) -> None:
    writer = MetricsWriter(old)
    sitting = {"id": writer.next_sitting(), "pid": 7, "ended": "completed"}
    writer.write([("points", point_row(3)), ("sittings", sitting)])
    writer.close()
    steps, events, sittings = content(old)
    assert (steps, events) == ([1, 2, 3], ["as it was"])
    assert [(row["id"], row["pid"]) for row in sittings] == [(1, 7)]
    connection = sqlite3.connect(old)
    assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_new_database_and_a_migrated_one_are_alike(old: Path, tmp_path: Path) -> None:
    def schema(path: Path) -> list[Any]:
        MetricsWriter(path).close()
        query = "SELECT type, name, sql FROM sqlite_master ORDER BY name"
        return sqlite3.connect(path).execute(query).fetchall()

    assert schema(old) == schema(tmp_path / "new.sqlite3")


def test_a_migration_that_fails_leaves_the_version_before(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.store import metrics

    broken = (*metrics.MIGRATIONS[:1], "CREATE TABLE half (id INTEGER); CREATE TABLE points (x);")
    with monkeypatch.context() as patched:
        patched.setattr(metrics, "MIGRATIONS", broken)
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            MetricsWriter(old)
    assert content(old)[0] == [1, 2]
    tables = sqlite3.connect(old).execute("SELECT name FROM sqlite_master").fetchall()
    assert ("half",) not in tables


def test_a_newer_database_is_refused_by_all_and_left_alone(old: Path) -> None:
    connection = sqlite3.connect(old)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = old.read_bytes()
    for use in (MetricsReader, MetricsWriter, open_or_replace):
        with pytest.raises(NewerStoreError, match="newer version"):
            use(old)
    assert old.read_bytes() == before
    assert [entry.name for entry in old.parent.iterdir()] == [old.name]


# ---------------------------------------------------------------------- records


def raw_state(**fields: object) -> bytes:
    state = {"run_id": "a", "created_at": "x", "updated_at": "x"} | fields
    return json.dumps(state).encode()


def test_an_older_record_is_converted_in_memory_step_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(raw_state(schema=1, loss=2.0))
    monkeypatch.setattr(files, "SCHEMA", 3)
    steps: dict[Any, Any] = {
        (State, 1): lambda raw: raw | {"training_loss": raw["loss"]},
        (State, 2): lambda raw: raw | {"train_loss": raw["training_loss"]},
    }
    monkeypatch.setattr(files, "MIGRATIONS", steps)
    state = read_record(path, State)
    assert (state.schema, state.train_loss) == (3, 2.0)
    assert path.read_bytes() == raw_state(schema=1, loss=2.0)


def test_a_record_whose_kind_did_not_change_only_gets_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(raw_state(schema=1, train_loss=2.0))
    monkeypatch.setattr(files, "SCHEMA", 2)
    assert read_record(path, State).schema == 2


def test_a_newer_state_is_refused_and_hides_no_other_run(
    store: RunStore, make_run: MakeRun
) -> None:
    make_run(run_id="good")
    newer = make_run(run_id="newer")
    newer.paths.state.write_bytes(raw_state(run_id="newer", schema=99))
    with pytest.raises(NewerStoreError, match="newer version"):
        store.get("newer")
    listed = {run.run_id: run for run in store.list().runs}
    assert listed["good"].status == "completed"
    error = listed["newer"].state.error
    assert error is not None
    assert error.hint == "Use a newer llm-trainer for this workspace."
    for change in (store.delete, store.resume, store.stop):
        with pytest.raises(NewerStoreError):
            change("newer")
    assert newer.paths.state.read_bytes() == raw_state(run_id="newer", schema=99)


def test_newer_metrics_refuse_a_resume_before_anything_is_written(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="stopped", points=1)
    connection = sqlite3.connect(run.paths.metrics)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    before = run.paths.state.read_bytes()
    with pytest.raises(NewerStoreError):
        store.resume(run.run_id)
    assert run.paths.state.read_bytes() == before


# ---------------------------------------------------------------------- configurations


def without(text: str, *names: str) -> str:
    """Take settings out of a stored configuration, as an older version would have written it."""
    lines = text.splitlines()
    return "\n".join(line for line in lines if not line.startswith(tuple(f"{n} =" for n in names)))


def test_settings_that_came_later_keep_what_training_did_before_them(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    stored = configuration.to_toml(configuration.resolved(Config()))
    run.paths.config.write_text(without(stored, "embedding_init", "context_ramp", "learning_rate"))
    config = store.config(run.run_id)
    assert config.model.embedding_init == "normal"
    assert config.training.context_ramp == 0.0
    assert config.training.learning_rate == 3e-3


def test_settings_that_are_there_are_what_they_say(store: RunStore, make_run: MakeRun) -> None:
    assert store.config(make_run().run_id) == configuration.resolved(Config())


def test_a_setting_of_a_newer_version_is_refused_by_name(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run()
    with run.paths.config.open("a") as file:
        file.write("\n[teleport]\nspeed = 9\n")
    with pytest.raises(StoreError, match=r"teleport\.speed"):
        store.config(run.run_id)
    with pytest.raises(ConfigurationError):
        configuration.load_stored(run.paths.config)


def test_a_schema_that_is_no_number_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(raw_state(schema="one"))
    with pytest.raises(DamagedError):
        read_record(path, State)
