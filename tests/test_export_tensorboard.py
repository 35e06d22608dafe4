"""Curves for TensorBoard, read back by TensorBoard itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import CREATED_AT, MakeRun
from trainer.errors import NotFoundError, StoreError, UsageError
from trainer.export_tensorboard import Sitting, WallClock, export_tensorboard
from trainer.runs import Run, RunStore
from trainer.store.metrics import MetricsWriter

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    """A run of two steps, an evaluation and a sample; stopped for an hour after the first."""
    run = make_run(run_id="a", name="Mats")
    point = {"epoch": 1.0, "learning_rate": 0.5, "grad_norm": None, "tokens_per_second": 64.0}
    sample = {"step": 2, "at": "2026-01-02T04:04:31.000Z", "prompt": "The", "text": " mat <b>"}
    figures = {"val_loss": 4.5, "val_word_perplexity": 99.0, "val_bits_per_byte": 1.5}
    writer = MetricsWriter(run.paths.metrics)
    writer.write(
        [
            ("points", {"step": 1, "elapsed_seconds": 10.0, "train_loss": 5.25, **point}),
            ("points", {"step": 2, "elapsed_seconds": 20.0, "train_loss": 5.0, **point}),
            ("evaluations", {"step": 2, "elapsed_seconds": 21.0, **figures}),
            ("samples", sample),
            ("sittings", {"id": 1, "started_at": CREATED_AT, "from_step": 0}),
            ("sittings", {"id": 2, "started_at": "2026-01-02T04:04:05.000Z", "from_step": 1}),
            ("system", {"at": "2026-01-02T03:04:16.000Z", "elapsed_seconds": 11.0}),
            ("system", {"at": "2026-01-02T04:04:30.000Z", "elapsed_seconds": 20.0}),
        ]
    )
    writer.close()
    return run


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def test_tensorboard_reads_the_curves(store: RunStore, run: Run, tmp_path: Path) -> None:
    written = export_tensorboard(store, run.run_id, tmp_path / "board")
    assert (written.path, written.steps) == (tmp_path / "board", 2)
    found = read(tmp_path / "board")
    curves = {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }
    assert curves == {
        "loss/train": [(1, 5.25), (2, 5.0)],
        "loss/validation": [(2, 4.5)],
        "training/learning_rate": [(1, 0.5), (2, 0.5)],
        "training/tokens_per_second": [(1, 64.0), (2, 64.0)],
        "validation/bits_per_byte": [(2, 1.5)],
        "validation/word_perplexity": [(2, 99.0)],
    }


def test_each_step_has_the_time_it_was_done_at(store: RunStore, run: Run, tmp_path: Path) -> None:
    export_tensorboard(store, run.run_id, tmp_path / "board")
    found = read(tmp_path / "board")
    times = [event.wall_time for event in found.Scalars("loss/train")]
    assert times == [CREATED + 10, CREATED + 3600 + 25]
    assert found.Scalars("loss/validation")[0].wall_time == CREATED + 3600 + 26


def test_tensorboard_reads_samples_and_settings(store: RunStore, run: Run, tmp_path: Path) -> None:
    export_tensorboard(store, run.run_id, tmp_path / "board")
    found = read(tmp_path / "board")
    (sample,) = found.Tensors("samples/prompt 1")
    assert sample.tensor_proto.string_val == [b"```\nThe mat <b>\n```"]
    assert (sample.step, sample.wall_time) == (2, CREATED + 3600 + 26)
    (settings,) = found.Tensors("settings")
    assert b"```toml\n" in settings.tensor_proto.string_val[0]
    plugin = found.SummaryMetadata("settings").plugin_data.plugin_name
    assert plugin == "text"


def test_a_run_without_points_is_an_empty_board(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    written = export_tensorboard(store, make_run().run_id, tmp_path / "board")
    assert written.steps == 0
    assert read(tmp_path / "board").Tags()["scalars"] == []


def test_what_is_there_is_kept_and_damage_leaves_nothing(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    with pytest.raises(UsageError, match="not empty"):
        export_tensorboard(store, run.run_id, tmp_path)
    with pytest.raises(NotFoundError):
        export_tensorboard(store, "no-such-run", tmp_path / "board")
    run.paths.metrics.write_bytes(b"not a database" * 100)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(StoreError, match="damaged"):
        export_tensorboard(store, run.run_id, out / "board")
    assert list(out.iterdir()) == []


# ---------------------------------------------------------------------- when a step was


def test_without_readings_a_step_is_told_from_the_start() -> None:
    assert WallClock([], 100.0).at(7, 2.5) == 102.5
    assert WallClock([Sitting(0, 50.0, (), ())], 0.0).at(7, 2.5) == 52.5
    assert WallClock([Sitting(0, 50.0, (), ())], 0.0).at(7, None) == 50.0


def test_the_next_reading_of_its_own_process_says_when_a_step_was() -> None:
    first = Sitting(0, 1000.0, (10.0, 20.0), (1010.0, 1021.0))  # The clock was put on a second.
    second = Sitting(5, 5000.0, (12.0,), (5001.0,))  # Went back to step 5, and came later.
    clock = WallClock([first, second], 0.0)
    assert clock.at(4, 9.0) == 1009.0
    assert clock.at(5, 19.0) == 1020.0
    assert clock.at(5, 30.0) == 1031.0
    assert clock.at(6, 13.0) == 5002.0
