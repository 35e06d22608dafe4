"""Reading the store for the screen."""

from __future__ import annotations

import json
import os

import pytest

from tests.conftest import MakeRun, point_row
from trainer.config import Config
from trainer.config import replace as changed
from trainer.errors import NotFoundError
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.metrics import MetricsWriter
from trainer.store.recorder import Recorder
from trainer.tui.watching import StoreWatch, appended, read_listing


def test_the_listing_counts_the_active_runs(store: RunStore, make_run: MakeRun) -> None:
    make_run(status="running", process=process.identify(os.getpid()))
    make_run(status="completed")
    listing = read_listing(store)
    assert len(listing.runs) == 2
    assert listing.active == 1


def test_a_glimpse_holds_all_that_is_shown(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(points=3, config=changed(Config(), training__epochs=9))
    run.paths.train_log.write_text("one\ntwo\n")
    writer = MetricsWriter(run.paths.metrics)
    writer.write(
        [
            ("samples", {"step": 2, "at": "", "prompt": "Once", "text": " upon"}),
            ("events", {"at": "", "step": 1, "kind": "k", "level": "info", "message": "m"}),
            ("system", {"at": "", "elapsed_seconds": 1.0, "cpu_percent": 20.0}),
            ("system", {"at": "", "elapsed_seconds": 2.0, "cpu_percent": 30.0}),
        ]
    )
    writer.close()
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()
    sidecar = run.paths.checkpoints / "latest.pt.json"
    sidecar.write_text(json.dumps({"step": 3, "epoch": 1}))

    glimpse = StoreWatch(store).look(run.run_id)
    assert glimpse.curves.train.values == (5.0, 4.9, 4.8)
    assert glimpse.log == ("one", "two")
    assert [sample["text"] for sample in glimpse.samples] == [" upon"]
    assert [event["message"] for event in glimpse.events] == ["m"]
    assert glimpse.reading is not None
    assert glimpse.reading["cpu_percent"] == 30.0
    assert [checkpoint.name for checkpoint in glimpse.checkpoints] == ["latest"]
    assert glimpse.settings == ("training.epochs = 9",)


def test_samples_and_events_grow_by_what_is_new(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    watch = StoreWatch(store)
    for step in (1, 2):
        writer = MetricsWriter(run.paths.metrics)
        writer.write([("samples", {"step": step, "at": "", "prompt": "a", "text": str(step)})])
        writer.close()
        glimpse = watch.look(run.run_id)
    assert [sample["step"] for sample in glimpse.samples] == [1, 2]


def test_a_resumed_run_is_read_anew(store: RunStore, make_run: MakeRun) -> None:
    """It went on from step 2 and is past the old end before the next look."""
    run = make_run(points=3, status="stopped")
    watch = StoreWatch(store)
    watch.look(run.run_id)
    recorder = Recorder(run.paths, run.state)
    recorder.cut_after(2)
    recorder.update(status="running", process=process.identify(os.getpid()))
    for step in (3, 4):
        recorder.add("points", point_row(step) | {"train_loss": 1.5})
    recorder.flush()
    assert watch.look(run.run_id).curves.train.values == (5.0, 4.9, 1.5, 1.5)
    recorder.close(status="completed", process=None)
    assert watch.look(run.run_id).curves.train.values == (5.0, 4.9, 1.5, 1.5)


def test_what_the_process_printed_stands_in_for_a_missing_log(
    store: RunStore, make_run: MakeRun
) -> None:
    run = make_run(status="failed")
    run.paths.worker_log.write_text("no such module\n")
    assert StoreWatch(store).look(run.run_id).log == ("no such module",)


def test_damaged_metrics_do_not_hide_the_run(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.metrics.write_bytes(b"this is no database" * 100)
    glimpse = StoreWatch(store).look(run.run_id)
    assert "The metrics database is damaged" in glimpse.trouble
    assert glimpse.curves.empty


def test_a_damaged_configuration_does_not_hide_the_run(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.config.write_text("[training\n")
    assert "is not valid TOML" in StoreWatch(store).look(run.run_id).settings[0]


def test_a_run_that_is_gone_or_damaged_is_told(store: RunStore, make_run: MakeRun) -> None:
    watch = StoreWatch(store)
    with pytest.raises(NotFoundError):
        watch.look("20260101-000000-abcd")
    run = make_run()
    run.paths.state.write_text("{")
    error = watch.look(run.run_id).run.state.error
    assert error is not None
    assert error.message.startswith("state.json is damaged")


def test_looking_at_another_run_starts_over(store: RunStore, make_run: MakeRun) -> None:
    first, second = make_run(points=5), make_run(points=2)
    watch = StoreWatch(store)
    watch.look(first.run_id)
    assert watch.look(second.run_id).curves.train.steps == (1, 2)


@pytest.mark.parametrize(
    ("old", "new", "added", "forget"),
    [
        ([], ["a"], ["a"], False),
        (["a", "b"], ["a", "b"], [], False),
        (["a", "b"], ["a", "b", "c"], ["c"], False),
        (["a", "b", "c"], ["b", "c", "d"], ["d"], False),
        (["a", "b"], ["x", "y"], ["x", "y"], True),
        (["a"], [], [], True),
    ],
)
def test_what_was_appended_to_a_log(
    old: list[str], new: list[str], added: list[str], forget: bool
) -> None:
    assert appended(old, new) == (added, forget)
