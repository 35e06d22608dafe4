"""The worker's pen: what was handed over is on disk soon, and nothing is lost to a full disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from tests.conftest import MakeRun, point_row
from trainer.runs import Run, RunStore
from trainer.store import recorder as recorder_module
from trainer.store.files import read_record
from trainer.store.metrics import MetricsReader, MetricsWriter
from trainer.store.recorder import Recorder
from trainer.store.records import State


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return make_run(status="queued")


@pytest.fixture
def recorder(run: Run) -> Iterator[Recorder]:
    made = Recorder(run.paths, run.state)
    yield made
    made.close()


def test_state_and_points_are_on_disk_after_a_flush(run: Run, recorder: Recorder) -> None:
    recorder.update(step=3, train_loss=2.5)
    recorder.add("points", point_row(3))
    recorder.flush()
    assert read_record(run.paths.state, State).train_loss == 2.5
    with MetricsReader(run.paths.metrics) as reader:
        assert reader.last_step() == 3


def test_the_heartbeat_is_written(run: Run, recorder: Recorder) -> None:
    recorder.update(step=1)
    recorder.flush()
    assert read_record(run.paths.state, State).heartbeat_at is not None


def test_points_are_kept_while_the_disk_is_full_and_written_after(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(self: MetricsWriter, rows: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(MetricsWriter, "write", no_space)
        recorder.add("points", point_row(1))
        recorder.flush(patience_seconds=0.2)
    recorder.add("points", point_row(2))
    recorder.flush()
    with MetricsReader(run.paths.metrics) as reader:
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [1, 2]


def test_state_is_kept_while_the_disk_is_full_and_written_after(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    recorder.flush()
    with monkeypatch.context() as patched:
        patched.setattr(recorder_module, "write_record", no_space)
        recorder.update(step=7)
        recorder.flush(patience_seconds=0.2)
    recorder.flush()
    assert read_record(run.paths.state, State).step == 7


def test_a_notice_is_told_once(recorder: Recorder) -> None:
    recorder.notice("on the CPU")
    recorder.notice("on the CPU")
    assert recorder.state.notices == ["on the CPU"]


def test_events_are_kept_in_order(run: Run, recorder: Recorder, store: RunStore) -> None:
    recorder.event("first", "one")
    recorder.event("second", "two", level="warning", step=4)
    recorder.flush()
    with store.metrics(run.run_id) as reader:
        events = [(e["kind"], e["message"], e["level"], e["step"]) for e in reader.events()]
    assert events == [("first", "one", "info", None), ("second", "two", "warning", 4)]


def test_closing_writes_how_it_ended_and_leaves_one_database_file(run: Run) -> None:
    recorder = Recorder(run.paths, run.state)
    recorder.add("points", point_row(1))
    recorder.close(status="completed", phase=None)
    assert read_record(run.paths.state, State).status == "completed"
    assert not run.paths.metrics.with_name("metrics.sqlite3-wal").exists()
