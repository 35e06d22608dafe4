"""Buckets from blocks are the buckets of the rows, whatever was written, cut and written again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import point_row
from trainer.store import rollup
from trainer.store.metrics import POINT_SERIES, MetricsReader, MetricsWriter, open_or_replace
from trainer.store.rollup import BLOCK, Layout, layout

AXES = ("epoch", "tokens", "elapsed_seconds")
Bounds = dict[str, int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.sqlite3"


@pytest.fixture
def every_width_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short tables be read like long ones."""
    monkeypatch.setattr(rollup, "MOST_SCANNED", 0)


def write(path: Path, *batches: list[dict[str, Any]], table: str = "points") -> None:
    writer = MetricsWriter(path)
    for batch in batches:
        writer.write((table, row) for row in batch)
    writer.close()


def series(path: Path, **options: Any) -> dict[str, Any]:
    with MetricsReader(path) as reader:
        found: dict[str, Any] = reader.series(POINT_SERIES, **options)["series"]
    return found


def count_blocks(path: Path, table: str = "point_blocks") -> int:
    return int(sqlite3.connect(path).execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def forget_blocks(path: Path) -> None:
    """Make a database of version 2 again."""
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP TABLE point_blocks; DROP TABLE system_blocks; DROP INDEX system_by_time; "
        "PRAGMA user_version=2;"
    )
    connection.close()


# ---------------------------------------------------------------------- the layout


@pytest.mark.parametrize(
    ("first", "last", "points", "expected"),
    [
        (1, 10, 10, Layout(1, 1)),
        (1, 11, 10, Layout(1, 2)),
        (1, 1000, 10, Layout(1, 100)),  # Few rows: any width.
        (1, 1_000_000, 2000, Layout(0, 512)),  # 500 and some, in whole blocks.
        (300_001, 364_000, 2000, Layout(300_001, 32)),  # No wider than a block.
        (300_001, 400_000, 1000, Layout(300_000, 128)),
    ],
)
def test_the_layout_of_buckets(first: int, last: int, points: int, expected: Layout) -> None:
    assert layout(first, last, points) == expected


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 3000))
def test_a_layout_covers_its_keys_in_at_most_so_many_buckets(
    first: int, more: int, points: int
) -> None:
    last = first + more
    found = layout(first, last, points)
    assert found.start <= first
    assert (last - found.start) // found.width < points


# ---------------------------------------------------------------------- what buckets tell

row = st.builds(
    lambda step, loss, norm: {"step": step, "train_loss": loss, "grad_norm": norm},
    st.integers(0, 400),
    st.none() | st.floats(-5, 5, width=16),
    st.none() | st.integers(0, 9).map(float),
)
batches = st.lists(
    st.lists(row, max_size=80) | st.integers(0, 400),  # A number: cut after that step.
    min_size=1,
    max_size=8,
)


def plain_buckets(
    rows: dict[int, dict[str, Any]], name: str, low: int, high: int, points: int
) -> list[tuple[int, Any, Any, Any]]:
    """Work the buckets out from the rows: step, last value, smallest, largest."""
    inside = [step for step in sorted(rows) if low <= step <= high]
    if not inside:
        return []
    found = layout(inside[0], inside[-1], points)
    buckets: dict[int, list[int]] = {}
    for step in inside:
        if rows[step][name] is not None:
            number = step if len(inside) <= points else (step - found.start) // found.width
            buckets.setdefault(number, []).append(step)
    answer = []
    for steps in buckets.values():
        values = [rows[step][name] for step in steps]
        answer.append((steps[-1], values[-1], min(values), max(values)))
    return answer


@settings(max_examples=60, deadline=None)
@given(batches, st.integers(0, 200), st.integers(0, 250), st.integers(1, 40))
def test_buckets_are_those_of_the_rows_after_any_writes_and_cuts(
    actions: list[Any], low: int, span: int, points: int
) -> None:
    rows: dict[int, dict[str, Any]] = {}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(rollup, "MOST_SCANNED", 0)
        path = Path(folder) / "metrics.sqlite3"
        writer = MetricsWriter(path)
        for action in actions:
            if isinstance(action, int):
                writer.cut_after(action)
                rows = {step: kept for step, kept in rows.items() if step <= action}
            else:
                writer.write(("points", one) for one in action)
                rows |= {one["step"]: one for one in action}
        writer.close()
        bounds: list[Bounds] = [{}, {"first": low}, {"first": low, "last": low + span}]
        with_blocks = [series(path, points=points, **one) for one in bounds]
        forget_blocks(path)
        without = [series(path, points=points, **one) for one in bounds]
        assert with_blocks == without
        for one, found in zip(bounds, with_blocks, strict=True):
            assert_of_rows(found, rows, one.get("first", 0), one.get("last", 10**9), points)


def assert_of_rows(
    found: dict[str, Any], rows: dict[int, dict[str, Any]], low: int, high: int, points: int
) -> None:
    for name in ("train_loss", "grad_norm"):
        told = found[name]
        shown = list(zip(told["step"], told["value"], told["min"], told["max"], strict=True))
        assert shown == plain_buckets(rows, name, low, high, points)
        assert len(shown) == told["points"] <= points
        inside = [rows[step][name] for step in rows if low <= step <= high]
        assert told["of"] == sum(value is not None for value in inside)


@pytest.mark.usefixtures("every_width_in_blocks")
def test_a_bucket_has_the_axes_of_its_last_value(path: Path) -> None:
    write(path, [point_row(step) for step in range(1, 641)])
    told = series(path, points=10)["train_loss"]
    assert told["step"] == [95, 191, 287, 383, 479, 575, 640]
    for axis in AXES:
        assert told[axis] == [point_row(step)[axis] for step in told["step"]]


@pytest.mark.usefixtures("every_width_in_blocks")
def test_a_spike_of_one_step_is_seen_from_afar(path: Path) -> None:
    rows = [point_row(step) | {"grad_norm": 1.0} for step in range(1, 2001)]
    rows[1233]["grad_norm"] = 77.0
    write(path, rows)
    told = series(path, points=5)["grad_norm"]
    assert told["max"].count(77.0) == 1
    assert told["step"][told["max"].index(77.0)] >= 1234
    assert told["of"] == 2000


# ---------------------------------------------------------------------- how blocks are kept


def test_a_block_follows_its_rows_through_replacement_and_cut(path: Path) -> None:
    write(path, [point_row(step) for step in range(1, 3 * BLOCK)])
    assert count_blocks(path) == 3
    writer = MetricsWriter(path)
    writer.write([("points", point_row(BLOCK) | {"grad_norm": 50.0})])
    writer.cut_after(BLOCK + 3)
    writer.close()
    connection = sqlite3.connect(path)
    query = "SELECT block, grad_norm_count, grad_norm_last, grad_norm_high FROM point_blocks"
    assert connection.execute(query).fetchall() == [(0, 31, 31, 1.0), (1, 4, 35, 50.0)]
    writer = MetricsWriter(path)
    writer.cut_after(BLOCK - 1)
    writer.close()
    assert count_blocks(path) == 1


def test_a_batch_that_fails_leaves_the_blocks_as_they_were(path: Path) -> None:
    writer = MetricsWriter(path)
    with pytest.raises(sqlite3.OperationalError):
        writer.write([("points", point_row(1)), ("points", {"no_such_column": 1})])
    writer.close()
    assert count_blocks(path) == 0


@pytest.mark.usefixtures("every_width_in_blocks")
def test_a_database_of_version_2_is_read_from_its_rows_and_gets_blocks_with_its_writer(
    path: Path,
) -> None:
    write(path, [point_row(step) for step in range(1, 700)])
    write(path, [{"elapsed_seconds": n, "cpu_percent": n} for n in range(200)], table="system")
    before, blocks = series(path, points=9), count_blocks(path)
    kept = list(sqlite3.connect(path).execute("SELECT * FROM system_blocks"))
    forget_blocks(path)
    content = path.read_bytes()
    assert series(path, points=9) == before
    assert path.read_bytes() == content
    MetricsWriter(path).close()
    assert count_blocks(path) == blocks
    assert list(sqlite3.connect(path).execute("SELECT * FROM system_blocks")) == kept
    assert series(path, points=9) == before


@pytest.mark.usefixtures("every_width_in_blocks")
def test_what_is_saved_of_a_damaged_database_has_its_blocks(path: Path) -> None:
    write(path, [point_row(step) for step in range(1, 3001)])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    path.write_bytes(content)
    open_or_replace(path)[0].close()
    with_blocks = series(path, points=20)
    forget_blocks(path)
    assert series(path, points=20) == with_blocks


# ---------------------------------------------------------------------- readings of the machine


@pytest.mark.usefixtures("every_width_in_blocks")
def test_readings_are_curves_and_a_second_of_much_memory_shows(path: Path) -> None:
    rows = [{"elapsed_seconds": float(n), "ram_bytes": 100} for n in range(1000)]
    rows[417]["ram_bytes"] = 9000
    write(path, rows[:500], rows[500:], table="system")
    with MetricsReader(path) as reader:
        told = reader.readings(points=10)
    assert list(told["series"]) == ["ram_bytes"]  # What was never read is left out.
    memory = told["series"]["ram_bytes"]
    assert (told["last_id"], told["of"], told["points"]) == (1000, 1000, len(memory["id"]))
    assert max(memory["max"]) == 9000
    assert memory["id"][-1] == 1000
    assert memory["elapsed_seconds"][-1] == 999.0


def test_readings_are_continued_by_id_and_cut_out_by_time(path: Path) -> None:
    rows = [{"elapsed_seconds": n / 2, "cpu_percent": float(n)} for n in range(1, 11)]
    write(path, rows, table="system")
    with MetricsReader(path) as reader:
        assert reader.readings(after_id=8)["series"]["cpu_percent"]["id"] == [9, 10]
        assert reader.readings(after_id=10)["series"] == {}
        some = reader.readings(from_seconds=1.5, to_seconds=2.5)["series"]["cpu_percent"]
        none = reader.readings(from_seconds=50, to_seconds=60)
    assert some["value"] == [3.0, 4.0, 5.0]
    assert (none["last_id"], none["series"]) == (10, {})


def test_without_a_database_there_are_no_readings(path: Path) -> None:
    with MetricsReader(path) as reader:
        assert reader.readings() == {"last_id": None, "points": 0, "of": 0, "series": {}}
