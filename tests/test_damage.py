"""Files that are damaged or gone: what everybody is told of them, and what brings them back."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from tests.conftest import MakeRun, point_row
from trainer import config as configuration
from trainer import damage, launch
from trainer.cli import application
from trainer.config import Config
from trainer.errors import NotFoundError, StoreError, VanishedError
from trainer.following import look_again
from trainer.runs import Run, RunStore, warning
from trainer.store.files import read_record, write_record
from trainer.store.metrics import MetricsWriter
from trainer.store.records import Meta, State
from webapp import create_app


@pytest.fixture
def web(home: Path) -> FlaskClient:
    app = create_app(home, config={"TESTING": True, "LIVE_IN_BACKGROUND": False})
    return app.test_client()


def with_checkpoint(run: Run, step: int = 30) -> Run:
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").write_bytes(b"x")
    facts = {"step": step, "epoch": 1, "bytes": 1}
    run.paths.checkpoint("latest").with_name("latest.pt.json").write_text(json.dumps(facts))
    return run


def torn_in_the_middle(run: Run) -> None:
    """Overwrite pages between the first and the newest point."""
    content = bytearray(run.paths.metrics.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    run.paths.metrics.write_bytes(content)


def say(home: Path, *arguments: str) -> str:
    result = CliRunner(env={"LLM_TRAINER_HOME": str(home), "COLUMNS": "400"}).invoke(
        application, arguments
    )
    return result.output


# ---------------------------------------------------------------------- metrics

TORN = (
    "The metrics database is damaged: its parts do not fit together any more. Charts lack some or "
    "all of their points; checkpoints are not affected. A resume sets the file aside and puts a "
    "new one together from what can still be read."
)


def test_whoever_looks_at_a_run_is_told_that_its_metrics_are_damaged(
    store: RunStore, make_run: MakeRun, home: Path, web: FlaskClient
) -> None:
    run = make_run(points=3000, step=3000)
    assert store.inspect(run.run_id).damage == ()
    torn_in_the_middle(run)
    assert store.inspect(run.run_id).damage == (TORN,)
    assert store.get(run.run_id).damage == ()
    assert TORN in say(home, "status", "--run-id", run.run_id)
    assert TORN in web.get(f"/runs/{run.run_id}").text
    assert json.loads(web.get(f"/api/runs/{run.run_id}").data)["damage"] == [TORN]


def test_an_answer_that_may_not_wait_tells_of_damage_at_a_later_look(
    store: RunStore, make_run: MakeRun, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "READ_AT_ONCE_BYTES", 0)
    run = make_run(points=3000, step=3000)
    torn_in_the_middle(run)
    held = threading.Event()
    damage._readers().submit(held.wait)  # The disk is slow.
    hurried = RunStore(home, hurried=True)
    assert hurried.inspect(run.run_id).damage == ()
    assert store.inspect(run.run_id).damage == (TORN,)
    held.set()
    damage._readers().submit(str).result()
    assert hurried.inspect(run.run_id).damage == (TORN,)


def test_metrics_that_are_empty_or_no_database_are_told(store: RunStore, make_run: MakeRun) -> None:
    run = make_run(points=3, step=3)
    run.paths.metrics.write_bytes(b"")
    [told] = store.inspect(run.run_id).damage
    assert told.startswith("metrics.sqlite3 is empty: no point of this run is left.")
    run.paths.metrics.write_bytes(b"no database " * 500)
    [told] = store.inspect(run.run_id).damage
    assert told.startswith("The metrics database is damaged: it does not hold a database any more.")


# ---------------------------------------------------------------------- config.toml, meta.json


def test_a_damaged_configuration_is_told_in_the_list_too(
    store: RunStore, make_run: MakeRun, web: FlaskClient, home: Path
) -> None:
    run = with_checkpoint(make_run(points=40, step=40, status="stopped"))
    whole = run.paths.config.read_text()
    run.paths.config.write_bytes(b"")
    seen = store.get(run.run_id)
    assert seen.damage == (
        "'config.toml' is cut short: it lacks [checkpoint]. A resume restores it from the "
        "checkpoint.",
    )
    assert warning(seen) == ("damaged", seen.damage[0])
    assert store.inspect(run.run_id).damage == seen.damage
    assert seen.damage[0] in say(home, "status")
    run.paths.config.write_text(whole[: whole.index("[device]")])
    assert "it lacks [device]" in store.inspect(run.run_id).damage[0]
    page = web.get(f"/runs/{run.run_id}").text
    assert f'href="/playground?run={run.run_id}"' in page
    assert 'aria-label="Loss from 5.0000 down to 1.1000 by step 40"' in page
    assert f'action="/runs/{run.run_id}/resume"' in page


def test_a_configuration_of_a_newer_version_is_not_taken_for_damaged(
    store: RunStore, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run(status="stopped"))
    with run.paths.config.open("a") as file:
        file.write("\n[teleport]\nspeed = 9\n")
    with pytest.raises(StoreError, match=r"teleport\.speed"):
        store.resume(run.run_id)


def test_a_resume_sets_a_damaged_configuration_aside(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(launch, "_start_worker", lambda *held: started.append(held))
    run = with_checkpoint(make_run(status="stopped", step=30))
    run.paths.config.write_text("[training\n")
    with pytest.raises(StoreError) as refusal:
        store.resume(run.run_id, more_epochs=1)
    assert "Resume without --more-epochs first" in refusal.value.hint
    store.resume(run.run_id)
    assert len(started) == 1
    [kept] = run.paths.folder.glob("config.toml.damaged-*")
    assert kept.read_text() == "[training\n"
    assert not run.paths.config.exists()
    assert read_record(run.paths.state, State).warnings == [
        "config.toml was missing or damaged and is restored from the checkpoint. The old file is "
        f"{kept.name}."
    ]


def test_a_configuration_in_a_checkpoint_reads_as_the_one_that_was_stored() -> None:
    config = configuration.resolved(Config())
    values = configuration.as_flat(config)
    assert configuration.from_checkpoint(values, "latest.pt") == config


def test_damaged_facts_of_a_run_are_told(store: RunStore, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.meta.write_text("garbage")
    assert store.inspect(run.run_id).damage == (
        "meta.json is damaged: it is not JSON. How the run was made is not known any more.",
    )


# ---------------------------------------------------------------------- a folder that is gone


def test_a_run_that_is_gone_is_told_with_what_is_left_of_it(
    store: RunStore, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run(status="running"))
    shutil.rmtree(run.paths.folder)
    with pytest.raises(VanishedError) as gone:
        look_again(store, run.run_id)
    assert gone.value.exit_code == 1
    assert gone.value.message == (
        f"Run {run.run_id} is gone: its folder {run.paths.folder} was deleted (or moved)."
    )
    assert gone.value.hint == (
        f"Its checkpoints (latest) are still in {run.paths.checkpoints}. To remove them too: "
        f"llm-trainer delete --run-id {run.run_id}"
    )


def test_half_a_folder_that_is_being_deleted_is_no_damaged_run(
    store: RunStore, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(status="running")
    run.paths.state.unlink()
    monkeypatch.setattr(time, "sleep", lambda _: shutil.rmtree(run.paths.folder))
    with pytest.raises(NotFoundError):
        store.inspect(run.run_id)


def test_checkpoints_without_a_folder_can_be_deleted_and_brought_back(
    store: RunStore, make_run: MakeRun, home: Path
) -> None:
    run = with_checkpoint(make_run(run_id="lost"))
    make_run(run_id="kept")
    shutil.rmtree(run.paths.folder)
    assert store.resolve("latest", orphaned=True) == "kept"
    assert "The folder of run lost is gone" in say(home, "status", "--run-id", "lost")
    said = say(home, "delete", "--run-id", "los", "--yes")
    assert said.startswith("Deleted the checkpoints of run lost.\n")
    assert not run.paths.checkpoints.exists()
    assert store.workspace.orphaned_ids() == []
    said = say(home, "delete", "--run-id", "lost", "--undo")
    assert said == "The checkpoints of run lost are back; its folder was gone before.\n"
    assert store.workspace.orphaned_ids() == ["lost"]


# ---------------------------------------------------------------------- a state made anew


@pytest.mark.parametrize(
    ("ended", "status", "hint"),
    [
        ("stopped", "stopped", "Resume the run to go on from latest.pt"),
        ("completed", "completed", "It is complete"),
        (None, "interrupted", "Resume the run to go on from latest.pt"),
    ],
)
def test_how_a_run_without_its_state_ended_stands_in_its_metrics(
    store: RunStore, make_run: MakeRun, ended: str | None, status: str, hint: str
) -> None:
    run = with_checkpoint(make_run(status="stopped"))
    data = {"used": "/texts/a.txt", "reason": "The hub does not answer."}
    facts = Meta(
        run_id=run.run_id, created_at=run.state.created_at, command=[], versions={}, data=data
    )
    write_record(run.paths.meta, facts)
    writer = MetricsWriter(run.paths.metrics)
    writer.write(("points", point_row(step)) for step in range(1, 41))
    sitting = {"id": 1, "from_step": 0, "to_step": 40 if ended else None, "ended": ended}
    writer.write([("sittings", sitting)])
    writer.close()
    run.paths.state.write_bytes(b"")
    seen = store.get(run.run_id).state
    assert (seen.status, seen.step, seen.dataset) == (status, 40, "a.txt")
    assert seen.notices == ["The hub does not answer."]
    assert seen.error is not None
    assert seen.error.message.startswith("state.json is damaged: it is empty.")
    assert seen.error.hint.startswith(hint)
