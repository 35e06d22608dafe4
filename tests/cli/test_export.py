"""The CSV export: the promised columns, and doubles that come back as they were."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from tests.conftest import MakeRun
from trainer.errors import NotFoundError, StoreError, UsageError
from trainer.export import export_csv
from trainer.runs import Run, RunStore
from trainer.store.metrics import MetricsWriter

HEADER = (
    "step,epoch,tokens,elapsed_seconds,train_loss,val_loss,learning_rate,grad_norm,"
    "tokens_per_second"
)


def write(run: Run, *rows: tuple[str, dict[str, float]]) -> None:
    writer = MetricsWriter(run.paths.metrics)
    writer.write(rows)
    writer.close()


def test_a_row_a_step_and_empty_where_there_is_nothing(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run()
    write(
        run,
        ("points", {"step": 1, "epoch": 0.5, "tokens": 64, "train_loss": 5.25}),
        ("points", {"step": 2, "epoch": 1.0, "tokens": 128, "train_loss": 4.0, "grad_norm": 2.0}),
        ("evaluations", {"step": 2, "epoch": 1.0, "val_loss": 4.5}),
        ("evaluations", {"step": 3, "epoch": 1.5, "tokens": 192, "val_loss": 4.25}),
    )
    assert export_csv(store, run.run_id, tmp_path / "out.csv") == 3
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        HEADER,
        "1,0.5,64,,5.25,,,,",
        "2,1.0,128,,4.0,4.5,,2.0,",
        "3,1.5,192,,,4.25,,,",
    ]


def test_doubles_come_back_to_the_last_bit(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    awkward = [0.1 + 0.2, 1 / 3, 5e-324, 1.7976931348623157e308, math.pi * 1e-7]
    run = make_run()
    write(run, *(("points", {"step": i, "train_loss": v}) for i, v in enumerate(awkward, start=1)))
    export_csv(store, run.run_id, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        assert [float(row["train_loss"]) for row in csv.DictReader(file)] == awkward


def test_a_run_without_points_gives_the_heading_alone(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    assert export_csv(store, make_run().run_id, tmp_path / "out.csv") == 0
    assert (tmp_path / "out.csv").read_text() == HEADER + "\n"


def test_an_old_file_is_replaced_through_its_link(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    export_csv(store, make_run(points=1).run_id, tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith(HEADER)


def test_a_device_is_written_to_and_never_replaced(store: RunStore, make_run: MakeRun) -> None:
    assert export_csv(store, make_run(points=2).run_id, Path("/dev/null")) == 2
    assert Path("/dev/null").is_char_device()


def test_a_folder_and_a_place_that_is_not_there_are_refused(
    store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    run_id = make_run().run_id
    with pytest.raises(UsageError, match="is a folder"):
        export_csv(store, run_id, tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        export_csv(store, run_id, tmp_path / "nowhere" / "out.csv")
    with pytest.raises(NotFoundError):
        export_csv(store, "no-such-run", tmp_path / "out.csv")


def test_a_damaged_database_is_told(store: RunStore, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    run.paths.metrics.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="damaged"):
        export_csv(store, run.run_id, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()
