"""The page of one run as plain HTML: every state of it, and what its tables hold."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from tests.webapp.conftest import Send
from tests.webapp.test_pages import with_checkpoint
from trainer import config as configuration
from trainer.config import Config
from trainer.errors import UsageError
from trainer.export_model import Exported
from trainer.runs import Run, RunStore
from trainer.store.metrics import MetricsWriter
from trainer.store.process import identify
from trainer.store.records import State
from webapp.history import fold_attempts, sitting_rows
from webapp.pages import exporting
from webapp.pages.one_run import shown_evaluations
from webapp.presenting import first_checkpoint_words

DAY = "2026-01-02T"


def page_of(web: FlaskClient, run: Run, more: str = "") -> str:
    return web.get(f"/runs/{run.run_id}{more}").text


def words_of(page: str) -> str:
    """The text of a page, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def add(run: Run, table: str, **row: Any) -> None:
    writer = MetricsWriter(run.paths.metrics)
    writer.write([(table, row)])
    writer.close()


# ---------------------------------------------------------------------- states


def test_a_run_whose_configuration_is_damaged_has_the_same_page(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run(points=9, step=9, status="stopped", train_loss=4.2))
    run.paths.config.write_text("[model\n")
    page = page_of(web, run)
    words = words_of(page)
    assert "A resume restores it from the checkpoint." in words
    assert "Training loss 4.2000" in words
    assert 'data-chart="loss"' in page
    assert f'action="/runs/{run.run_id}/resume"' in page
    assert "Clone" not in words
    assert web.get(f"/runs/{run.run_id}/checkpoints").status_code == 200


def test_a_damaged_run_without_a_checkpoint_is_not_told_to_be_cloned(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = make_run(status="stopped")
    run.paths.config.write_text("[model\n")
    words = words_of(page_of(web, run))
    assert "There is no checkpoint that it could be restored from" in words
    assert "clone it" not in words


def test_a_deleted_run_can_be_brought_back_from_its_address(
    web: FlaskClient, make_run: MakeRun, store: RunStore, send: Send
) -> None:
    run = make_run(name="gone")
    store.delete(run.run_id)
    answer = web.get(f"/runs/{run.run_id}")
    assert answer.status_code == 404
    assert "“gone” was deleted" in words_of(answer.text)
    assert send("/runs/restore", run=run.run_id).location == f"/runs/{run.run_id}"
    assert web.get(f"/runs/{run.run_id}").status_code == 200


def test_a_warning_tells_when_it_happened(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(points=1, warnings=["The disk was slow."])
    at = f"{DAY}03:04:05.000Z"
    add(run, "events", at=at, kind="notice", level="warning", message="The disk was slow.")
    told = page_of(web, run).partition('data-told="warning"')[2].partition("</div>\n")[0]
    assert f'data-age="{at}"' in told


# ---------------------------------------------------------------------- log


def test_the_log_of_the_page_knows_its_bytes(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run()
    run.paths.train_log.write_text("".join(f"line {number:03}\n" for number in range(300)))
    page = page_of(web, run)
    assert 'class="log-block" data-start="900" data-end="2700"' in page
    assert "line 100" in page
    assert "line 099" not in page
    assert '"after_log": 2700' in page


# ---------------------------------------------------------------------- history


def sitting(**more: Any) -> dict[str, Any]:
    usual = {"id": 1, "pid": 7, "started_at": f"{DAY}10:00:00.000Z", "from_step": 0}
    return usual | {"ended_at": None, "to_step": None, "ended": None} | more


def state(**more: Any) -> State:
    stamp = f"{DAY}12:00:00.000Z"
    return State(run_id="a", created_at=stamp, updated_at=stamp, **more)


def test_each_process_that_worked_on_a_run_is_a_row() -> None:
    ended = {"ended_at": f"{DAY}10:01:30.000Z", "to_step": 40, "ended": "stopped"}
    rows = sitting_rows(
        [sitting(**ended), sitting(from_step=40, ended="interrupted")],
        state(status="interrupted", step=55),
    )
    assert [(row.steps, row.seconds, row.ended) for row in rows] == [
        (40, 90.0, "stopped"),
        (None, None, "interrupted"),
    ]


def test_the_process_that_works_now_has_its_present_step() -> None:
    me = identify(os.getpid())
    active = state(status="running", step=25, process=me)
    (row,) = sitting_rows([sitting(pid=os.getpid(), from_step=20)], active)
    assert (row.steps, row.seconds, row.ended) == (5, 7200.0, "running now")


def test_the_first_process_began_at_step_0() -> None:
    rows = sitting_rows([sitting(from_step=None), sitting(from_step=None)], state(status="running"))
    assert [row.from_step for row in rows] == [0, None]


def test_a_run_that_only_waited_had_no_machine_time() -> None:
    ended = {"ended_at": f"{DAY}10:00:13.000Z", "ended": "stopped"}
    (row,) = sitting_rows([sitting(**ended)], state(status="stopped"))
    assert (row.seconds, row.ended) == (None, "stopped")


def test_neighbouring_attempts_without_a_step_that_was_kept_are_one_row() -> None:
    starts = [0, 40, None, 40, 60, None]
    began = [sitting(id=number, from_step=start) for number, start in enumerate(starts)]
    done = sitting(id=9, from_step=60, to_step=90, ended="completed")
    rows = fold_attempts(sitting_rows([*began, done], state(status="completed", step=90)))
    assert [(row.from_step, row.to_step, row.ended) for row in rows] == [
        (0, 40, "interrupted"),
        (40, None, "2 attempts without a step that was kept"),
        (40, 60, "interrupted"),
        (60, None, "2 attempts without a step that was kept"),
        (60, 90, "completed"),
    ]


def test_the_history_stands_under_the_checkpoints(web: FlaskClient, make_run: MakeRun) -> None:
    run = make_run(points=40, step=40)
    ended = {"ended_at": f"{DAY}10:01:30.000Z", "to_step": 40, "ended": "completed"}
    add(run, "sittings", **sitting(**ended))
    words = words_of(page_of(web, run, "/checkpoints"))
    assert "0 40 40 1 min 30 s completed" in words


# ---------------------------------------------------------------------- evaluations and words


def evaluated(*losses: float | None) -> list[dict[str, Any]]:
    return [{"step": step, "val_loss": value} for step, value in enumerate(losses)]


def test_the_newest_evaluations_are_shown_and_always_the_best() -> None:
    rows = evaluated(5, 1, 3, None, 2)
    assert [row["step"] for row in shown_evaluations(rows, 4)] == [1, 2, 3, 4]
    assert [row["step"] for row in shown_evaluations(rows, 3)] == [1, 3, 4]
    assert shown_evaluations(evaluated(None), 3) == evaluated(None)
    assert shown_evaluations([], 3) == []


def test_a_long_table_of_evaluations_says_where_the_rest_is(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = make_run(points=1)
    writer = MetricsWriter(run.paths.metrics)
    rows = [{"step": step, "val_loss": 3.0} for step in range(1, 250)]
    writer.write([("evaluations", row) for row in rows])
    writer.close()
    words = words_of(page_of(web, run, "/checkpoints"))
    assert "200 of 249, newest first; all of them are in the CSV" in words


def test_a_run_says_when_it_will_save_first() -> None:
    config = configuration.replace(Config(), evaluation__every_steps=50)
    assert "at step 50 (evaluation)" in first_checkpoint_words(config)
    assert first_checkpoint_words(None) == "None yet."


def test_a_form_comes_back_to_the_charts_as_they_were(send: Send, make_run: MakeRun) -> None:
    run = make_run(status="stopped")
    view = "x=time&smooth=0.3&overlay=a&overlay=b&_external=1&other=2"
    answer = send(f"/runs/{run.run_id}/annotate", pinned="true", view=view)
    address = f"/runs/{run.run_id}?x=time&smooth=0.3&overlay=a&overlay=b"
    assert answer.headers["Location"] == address


# ---------------------------------------------------------------------- export


def test_a_checkpoint_is_exported_into_the_workspace(
    web: FlaskClient, make_run: MakeRun, send: Send, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_checkpoint(make_run(name="fox"), "best", step=30)
    path = f"/runs/{run.run_id}/checkpoints/best/export"
    target = home / "exports" / f"{run.run_id}-best-at-30"

    def export(_: RunStore, run_id: str, checkpoint: str, folder: Path) -> Exported:
        assert (run_id, checkpoint, folder) == (run.run_id, "best", target)
        folder.mkdir()
        return Exported(folder, 5_310_000, 2**20)

    monkeypatch.setattr(exporting, "export_hf", export)
    asked = words_of(web.get(path).text)
    assert f"export --run-id {run.run_id} --format hf --checkpoint best" in asked
    words = words_of(send(path, follow=True).text)
    assert f"Wrote the model to {target}: 5.31 M parameters, 1.0 MiB." in words
    assert "It was written to" in words


def test_an_export_that_is_refused_says_why(
    web: FlaskClient, make_run: MakeRun, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_checkpoint(make_run())

    def refuse(*_: object) -> Exported:
        raise UsageError("The folder is not empty.", "Empty it.")

    monkeypatch.setattr(exporting, "export_hf", refuse)
    answer = send(f"/runs/{run.run_id}/checkpoints/latest/export")
    assert answer.status_code == UsageError.http_status
    assert "The folder is not empty." in answer.text
    assert web.get(f"/runs/{run.run_id}/checkpoints/best/export").status_code == 404


def test_a_checkpoint_is_downloaded_as_the_file_that_it_is(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run())
    answer = web.get(f"/runs/{run.run_id}/checkpoints/latest.pt")
    assert answer.data == b"weights"
    assert f"{run.run_id}-latest.pt" in answer.headers["Content-Disposition"]
    assert web.get(f"/runs/{run.run_id}/checkpoints/..%2Fconfig.pt").status_code in (400, 404)
