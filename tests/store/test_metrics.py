"""The metrics database: buckets that hide no spike, cuts at a resume, whole transactions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import point_row
from trainer.errors import StoreError, UsageError
from trainer.store.metrics import MetricsReader, MetricsWriter, bucket_width


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.sqlite3"


def write_losses(path: Path, losses: list[float | None]) -> None:
    writer = MetricsWriter(path)
    rows = [("points", {"step": i + 1, "train_loss": v}) for i, v in enumerate(losses)]
    writer.write(rows)
    writer.close()


def read(path: Path, **options: Any) -> dict[str, Any]:
    with MetricsReader(path) as reader:
        return reader.series(["train_loss"], **options)


def test_without_a_database_everything_is_empty(path: Path) -> None:
    answer = read(path)
    assert answer["last_step"] is None
    assert answer["series"]["train_loss"]["step"] == []
    assert answer["of"] == 0


def test_few_points_come_as_they_are(path: Path) -> None:
    write_losses(path, [3.0, 2.0, 1.0])
    series = read(path)["series"]["train_loss"]
    assert series["step"] == [1, 2, 3]
    assert series["value"] == series["min"] == series["max"] == [3.0, 2.0, 1.0]


def test_a_spike_of_one_step_is_in_its_bucket(path: Path) -> None:
    losses: list[float | None] = [1.0] * 1000
    losses[417] = 9.0
    write_losses(path, losses)
    answer = read(path, points=10)
    series = answer["series"]["train_loss"]
    assert len(series["step"]) == 10
    assert max(series["max"]) == 9.0
    assert series["max"][4] == 9.0  # Steps 401 to 500.
    assert series["value"][-1] == 1.0
    assert series["step"][-1] == 1000
    assert (answer["points"], answer["of"]) == (10, 1000)


def test_after_gives_only_what_is_new(path: Path) -> None:
    write_losses(path, [3.0, 2.0, 1.0])
    assert read(path, after=1)["series"]["train_loss"]["step"] == [2, 3]
    assert read(path, after=3)["series"]["train_loss"]["step"] == []


def test_from_and_to_are_included(path: Path) -> None:
    write_losses(path, [5.0, 4.0, 3.0, 2.0, 1.0])
    assert read(path, first=2, last=4)["series"]["train_loss"]["step"] == [2, 3, 4]


def test_a_step_without_a_value_is_left_out(path: Path) -> None:
    write_losses(path, [3.0, None, 1.0])
    assert read(path)["series"]["train_loss"]["step"] == [1, 3]


@pytest.mark.parametrize(
    ("n", "first", "last", "points", "width"),
    [(10, 1, 10, 10, 1), (11, 1, 11, 10, 2), (1000, 1, 1000, 10, 100), (3, 1, 900, 3, 1)],
)
def test_the_width_of_a_bucket(n: int, first: int, last: int, points: int, width: int) -> None:
    assert bucket_width({"n": n, "first": first, "last": last}, points) == width


def test_an_unknown_series_is_refused_with_those_there_are(path: Path) -> None:
    with MetricsReader(path) as reader, pytest.raises(UsageError, match="val_loss"):
        reader.series(["val_lss; DROP TABLE points"])


@pytest.mark.parametrize("points", [0, -1, 20_001])
def test_a_senseless_number_of_points_is_refused(path: Path, points: int) -> None:
    with pytest.raises(UsageError, match="points"):
        read(path, points=points)


def test_a_resumed_run_forgets_what_lay_past_its_checkpoint(path: Path) -> None:
    write_losses(path, [3.0, 2.0, 1.0])
    writer = MetricsWriter(path)
    writer.cut_after(1)
    writer.write([("points", {"step": 2, "train_loss": 2.5})])
    writer.close()
    assert read(path)["series"]["train_loss"]["value"] == [3.0, 2.5]


def test_a_batch_is_stored_whole_or_not_at_all(path: Path) -> None:
    writer = MetricsWriter(path)
    with pytest.raises(sqlite3.OperationalError):
        writer.write([("points", {"step": 1}), ("points", {"no_such_column": 1})])
    writer.write([("points", {"step": 2, "train_loss": 1.0})])
    writer.close()
    assert read(path)["series"]["train_loss"]["step"] == [2]


def test_a_reader_sees_what_was_written_while_the_writer_lives(path: Path) -> None:
    writer = MetricsWriter(path)
    with MetricsReader(path) as reader:
        writer.write([("points", point_row(1))])
        assert reader.last_step() == 1
        writer.write([("points", point_row(2))])
        assert reader.last_step() == 2
    writer.close()


def test_a_clean_end_leaves_one_whole_file(path: Path) -> None:
    write_losses(path, [1.0])
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    check = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()
    assert check == ("ok",)


def test_a_reader_cannot_write(path: Path) -> None:
    write_losses(path, [1.0])
    with MetricsReader(path) as reader:
        assert reader._connection is not None
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM points")


def test_a_damaged_database_is_refused_in_words(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with MetricsReader(path) as reader, pytest.raises(StoreError, match="damaged"):
        reader.last_step()


def test_a_newer_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        MetricsWriter(path)


def test_one_row_a_step_for_the_export(path: Path) -> None:
    writer = MetricsWriter(path)
    writer.write([("points", point_row(1)), ("points", point_row(2))])
    writer.write([("evaluations", {"step": 2, "val_loss": 4.5})])
    writer.write([("evaluations", {"step": 3, "val_loss": 4.0})])
    writer.close()
    with MetricsReader(path) as reader:
        rows = [(row["step"], row["train_loss"], row["val_loss"]) for row in reader.export_rows()]
    assert rows == [(1, 5.0, None), (2, 4.9, 4.5), (3, None, 4.0)]
