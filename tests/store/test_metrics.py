"""The metrics database: buckets that hide no spike, cuts at a resume, whole transactions."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import point_row
from trainer.errors import DamagedError, StoreError, UsageError
from trainer.store.metrics import MetricsReader, MetricsWriter, open_or_replace


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


@pytest.mark.parametrize(("evaluated", "kept"), [(True, [4, 8]), (False, [4])])
def test_an_evaluation_that_is_to_be_repeated_is_forgotten_with_its_samples(
    path: Path, evaluated: bool, kept: list[int]
) -> None:
    writer = MetricsWriter(path)
    for step in (4, 8, 12):
        sample = {"step": step, "prompt": "p", "text": "t"}
        writer.write([("evaluations", {"step": step, "val_loss": 1.0}), ("samples", sample)])
    writer.cut_after(8, evaluated=evaluated)
    writer.close()
    with MetricsReader(path) as reader:
        assert [row["step"] for row in reader.latest_evaluations()] == kept
        assert [row["step"] for row in reader.samples()] == kept


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


def test_a_database_left_between_its_two_journals_is_read_and_put_right(
    path: Path, tmp_path: Path
) -> None:
    # What a SIGKILL leaves while the writer folds its log into the file: a journal to roll back.
    write_losses(path, [1.0, 2.0])
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size=1")
    connection.execute("BEGIN IMMEDIATE")
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)"
    connection.execute(f"CREATE TABLE other AS {numbers} SELECT i FROM n")
    killed = tmp_path / "killed.sqlite3"
    shutil.copy(path, killed)
    shutil.copy(f"{path}-journal", f"{killed}-journal")
    connection.close()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        sqlite3.connect(f"{killed.as_uri()}?mode=ro", uri=True).execute("PRAGMA user_version")
    assert read(killed)["series"]["train_loss"]["value"] == [1.0, 2.0]
    MetricsWriter(killed).close()
    assert not Path(f"{killed}-journal").exists()
    assert read(killed)["series"]["train_loss"]["value"] == [1.0, 2.0]


def test_a_damaged_database_is_refused_in_words(path: Path) -> None:
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    with pytest.raises(DamagedError, match="damaged"):
        MetricsReader(path)


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


def test_a_long_export_is_read_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.store.metrics._ROWS_A_READ", 2)
    writer = MetricsWriter(path)
    writer.write(("points", point_row(step)) for step in (1, 2, 4, 5))
    writer.write([("evaluations", {"step": step, "val_loss": 1.0}) for step in (2, 3, 6)])
    writer.close()
    with MetricsReader(path) as reader:
        assert [row["step"] for row in reader.export_rows()] == [1, 2, 3, 4, 5, 6]


# ---------------------------------------------------------------------- damaged databases


def damaged_in_the_middle(path: Path) -> None:
    """Write 3,000 points, then overwrite the middle of the file."""
    writer = MetricsWriter(path)
    writer.write(("points", point_row(step)) for step in range(1, 3001))
    writer.write([("events", {"kind": "saved", "message": "kept"})])
    writer.close()
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    path.write_bytes(content)


def test_what_lies_around_the_damage_is_saved(path: Path) -> None:
    damaged_in_the_middle(path)
    with pytest.raises(DamagedError):
        MetricsWriter(path)
    writer, happened = open_or_replace(path)
    writer.close()
    assert happened is not None
    assert "set aside as metrics.sqlite3.damaged-" in happened
    steps = read(path, points=5000)["series"]["train_loss"]["step"]
    assert steps[0] == 1
    assert steps[-1] == 3000
    assert 2000 < len(steps) < 3000
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_truncated_or_empty_database_goes_on(path: Path) -> None:
    for length in (0, 100, 4096, 10_000):
        path.unlink(missing_ok=True)
        write_losses(path, [3.0] * 2000)
        path.write_bytes(path.read_bytes()[:length])
        writer, _ = open_or_replace(path)
        writer.write([("points", point_row(9))])
        writer.close()
        assert 9 in read(path, points=5000)["series"]["train_loss"]["step"]


def test_only_this_module_opens_a_connection_that_may_write() -> None:
    root = Path(__file__).resolve().parents[2]
    elsewhere = [
        f"{file.relative_to(root)}: {line.strip()}"
        for folder in ("trainer", "webapp", "benchmarks")
        for file in (root / folder).rglob("*.py")
        if file.name != "metrics.py"
        for line in file.read_text().splitlines()
        if "sqlite3.connect(" in line and "mode=ro" not in line
    ]
    assert elsewhere == []
