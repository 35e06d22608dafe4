"""The worker's pen: what was handed over is on disk soon, and nothing is lost to a full disk."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import MakeRun, point_row
from trainer.runs import Run, RunStore
from trainer.store import process
from trainer.store import recorder as recorder_module
from trainer.store.files import read_record
from trainer.store.metrics import MetricsReader, MetricsWriter
from trainer.store.recorder import Recorder
from trainer.store.records import State
from trainer.store.trouble import read_trouble

PATIENCE_SECONDS = 30.0


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for the recorder's own thread."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def full_database(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


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


@pytest.mark.parametrize("level", ["warning", "error"])
def test_what_went_wrong_is_a_warning_and_no_notice(recorder: Recorder, level: str) -> None:
    for _ in range(2):
        recorder.notice("latest.pt was damaged", level=level)
    assert recorder.state.warnings == ["latest.pt was damaged"]
    assert recorder.state.notices == []


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


# ---------------------------------------------------------------------- trouble


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def told(run: Run) -> str | None:
    found = read_trouble(run.paths.trouble)
    return found.in_words if found else None


def test_a_state_that_cannot_be_replaced_is_told_beside_it(
    run: Run, recorder: Recorder, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.update(status="running", process=process.identify(os.getpid()))
    recorder.flush()
    with monkeypatch.context() as patched:
        patched.setattr(recorder_module, "write_record", no_space)
        recorder.update(step=7)
        assert not recorder.flush()
        wait_until(lambda: told(run) is not None)
        seen = store.get(run.run_id)
    assert seen.trouble == (
        "state.json cannot be written: no space left. Training goes on; what is missing is kept "
        "in memory and written later."
    )
    assert seen.as_dict()["trouble"] == seen.trouble
    assert seen.state.step == 7
    assert read_record(run.paths.state, State).step is None
    recorder.flush()
    wait_until(lambda: told(run) is None)
    assert store.get(run.run_id).trouble is None
    assert store.get(run.run_id).state.step == 7


def test_trouble_of_several_sources_is_told_together_and_its_end_is_an_event(
    run: Run, recorder: Recorder, store: RunStore
) -> None:
    recorder.trouble("checkpoint", "No space left for checkpoints.")
    recorder.trouble("checkpoint", "No space left for checkpoints.")
    recorder.trouble("data", "Waiting.")
    wait_until(lambda: told(run) == "No space left for checkpoints. Waiting.")
    recorder.trouble("data", None)
    recorder.trouble("checkpoint", None)
    recorder.trouble("checkpoint", None)
    recorder.flush()
    wait_until(lambda: told(run) is None)
    with store.metrics(run.run_id) as reader:
        events = [(event["level"], event["message"]) for event in reader.events()]
    assert events == [
        ("warning", "No space left for checkpoints."),
        ("warning", "Waiting."),
        ("info", "Over since now: Waiting."),
        ("info", "There is space again."),
    ]


def test_the_heartbeat_of_a_run_in_trouble_is_the_newest_sign_of_life(
    run: Run, recorder: Recorder, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder.update(status="running", process=process.identify(os.getpid()))
    recorder.flush()
    written = read_record(run.paths.state, State)
    with monkeypatch.context() as patched:
        patched.setattr(recorder_module, "write_record", no_space)
        recorder.update(step=1)
        recorder.flush()
        wait_until(lambda: told(run) is not None)
        shown = store.get(run.run_id).state
    assert (shown.heartbeat_uptime_seconds or 0) > (written.heartbeat_uptime_seconds or 0)


def test_a_run_that_has_ended_is_in_no_trouble(run: Run, store: RunStore) -> None:
    recorder = Recorder(run.paths, run.state)
    recorder.trouble("checkpoint", "No space left.")
    recorder.close(status="stopped")
    assert store.get(run.run_id).trouble is None
    assert not run.paths.trouble.exists()


# ---------------------------------------------------------------------- what can be kept


def test_readings_are_given_up_before_points(
    run: Run, recorder: Recorder, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_ROWS_KEPT", 6)
    with monkeypatch.context() as patched:
        patched.setattr(MetricsWriter, "write", full_database)
        for step in range(1, 4):
            recorder.add("points", point_row(step))
            recorder.add("system", {"cpu_percent": 1.0})
        assert not recorder.flush()
    recorder.flush()
    with store.metrics(run.run_id) as reader:
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [1, 2, 3]
        assert reader.system() == []
        messages = [event["message"] for event in reader.events()]
    assert "3 readings of the machine were given up: too much had to be kept." in messages


def test_training_waits_where_no_more_points_can_be_kept(
    run: Run, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "MOST_ROWS_KEPT", 3)
    recorder.update(status="running")
    recorder.flush()

    def train() -> None:
        for step in range(1, 9):
            recorder.add("points", point_row(step))

    points = threading.Thread(target=train)
    with monkeypatch.context() as patched:
        patched.setattr(MetricsWriter, "write", full_database)
        points.start()
        wait_until(lambda: "Training waits" in (told(run) or ""))
        assert points.is_alive()
    points.join(30)
    assert not points.is_alive()
    recorder.flush()
    with MetricsReader(run.paths.metrics) as reader:
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [*range(1, 9)]


# ---------------------------------------------------------------------- the database


def test_a_cut_keeps_its_place_among_the_rows(run: Run, recorder: Recorder) -> None:
    for step in (1, 2, 3):
        recorder.add("points", point_row(step))
    recorder.cut_after(1)
    recorder.add("points", point_row(2))
    recorder.flush()
    with MetricsReader(run.paths.metrics) as reader:
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [1, 2]


def test_points_that_a_resume_misses_are_told(
    run: Run, recorder: Recorder, store: RunStore
) -> None:
    recorder.add("points", point_row(2))
    recorder.cut_after(5)
    recorder.flush()
    assert recorder.state.warnings == [
        "No points are left of steps 1 and 3 to 5: the charts have a gap there. Training itself "
        "lost nothing."
    ]
    with store.metrics(run.run_id) as reader:
        wait_until(lambda: bool(reader.events()))
        [event] = reader.events()
    assert (event["level"], event["message"]) == ("error", recorder.state.warnings[0])


def test_the_steps_that_a_damaged_database_has_lost_are_named(run: Run) -> None:
    writer = MetricsWriter(run.paths.metrics)
    writer.write(("points", point_row(step)) for step in range(1, 3001))
    writer.close()
    content = bytearray(run.paths.metrics.read_bytes())
    content[len(content) // 2 :] = b""
    run.paths.metrics.write_bytes(content)
    recorder = Recorder(run.paths, run.state)
    recorder.cut_after(3000)
    recorder.flush()
    kept = MetricsReader(run.paths.metrics)
    last = kept.last_step() or 0
    kept.close()
    recorder.close(status="stopped")
    damaged, lost = recorder.state.warnings
    assert damaged.startswith(
        "The metrics database is damaged: its parts do not fit together any more. It was set aside "
        "as metrics.sqlite3.damaged-"
    )
    assert lost.startswith(f"No points are left of steps {last + 1:,} to 3,000: ")


def test_a_database_that_is_removed_is_written_again_with_all_it_had(
    run: Run, recorder: Recorder, store: RunStore
) -> None:
    recorder.add("points", point_row(1))
    recorder.flush()
    run.paths.metrics.unlink()
    recorder.add("points", point_row(2))
    recorder.flush()
    wait_until(run.paths.metrics.exists)
    with store.metrics(run.run_id) as reader:
        wait_until(lambda: bool(reader.events()))
        assert reader.series(["train_loss"])["series"]["train_loss"]["step"] == [1, 2]
        assert "written again" in reader.events()[0]["message"]


def test_a_damaged_database_is_set_aside_and_a_new_one_begun(run: Run, store: RunStore) -> None:
    run.paths.metrics.write_bytes(b"no database " * 500)
    recorder = Recorder(run.paths, run.state)
    recorder.add("points", point_row(1))
    recorder.close(status="stopped")
    [damaged] = run.paths.folder.glob("metrics.sqlite3.damaged-*")
    assert damaged.read_bytes() == b"no database " * 500
    with store.metrics(run.run_id) as reader:
        assert reader.last_step() == 1
        assert damaged.name in reader.events()[0]["message"]


def test_each_process_leaves_word_of_its_sitting(run: Run, store: RunStore) -> None:
    first = Recorder(run.paths, run.state)
    first.update(step=4)
    for step in range(1, 5):
        first.add("points", point_row(step))
    first.close(status="stopped")
    second = Recorder(run.paths, run.state)
    second.update(step=6)
    second.cut_after(4)
    second.close(status="completed")
    with store.metrics(run.run_id) as reader:
        told_of = [
            (row["pid"], row["from_step"], row["to_step"], row["ended"])
            for row in reader.sittings()
        ]
    assert told_of == [(os.getpid(), 0, 4, "stopped"), (os.getpid(), 4, 6, "completed")]
