"""The form that goes on with a run, when something is in its way."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.conftest import MakeRun
from tests.webapp.conftest import Send
from tests.webapp.test_pages import with_checkpoint
from trainer.runs import Run
from trainer.store.lock import RunLock
from webapp import Services


@pytest.fixture
def stopped(make_run: MakeRun) -> Run:
    run = make_run(status="stopped", step=10, total_steps=30, steps_per_epoch=10, epochs=3, epoch=1)
    return with_checkpoint(run)


def test_a_damaged_configuration_is_told_and_the_rest_of_the_form_works(
    web: FlaskClient, stopped: Run
) -> None:
    stopped.paths.config.write_text("not [ toml")
    page = web.get(f"/runs/{stopped.run_id}/resume").text
    assert "is damaged" in page
    assert "A resume restores it from the checkpoint." in page
    assert "with the configuration that the checkpoint holds." in page
    assert '<input type="hidden" name="more_epochs" value="0" id="more">' in page


def test_a_live_run_is_not_resumed_and_its_owner_is_named(
    web: FlaskClient, make_run: MakeRun
) -> None:
    run = with_checkpoint(make_run(status="running", step=10))
    lock = RunLock.acquire(run.paths.lock)
    assert lock is not None
    page = web.get(f"/runs/{run.run_id}/resume").text
    assert "The run is running: there is nothing to resume." in page
    assert "is already active: process" in page
    assert f'href="/runs/{run.run_id}">Watch it' in page
    assert "<form" not in page.partition('<div class="page-head">')[2].partition("</main>")[0]
    lock.release()


def test_without_scripts_a_button_says_what_will_happen(
    send: Send, stopped: Run, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(parts.store, "resume", lambda *_, **given: asked.append(given))
    page = send(f"/runs/{stopped.run_id}/resume", more_epochs="2", preview="true")
    assert page.status_code == 200
    assert "trains 40 more steps, to step 50" in page.text
    assert asked == []


def test_a_wrong_number_is_told_at_its_field_and_stays(send: Send, stopped: Run) -> None:
    answer = send(f"/runs/{stopped.run_id}/resume", more_epochs="nine", **{"from": "latest"})
    assert answer.status_code == 422
    assert 'name="more_epochs" value="nine"' in answer.text
    assert 'id="more-error"' in answer.text
    assert "autofocus" in answer.text


def test_pinned_checkpoints_are_marked_and_what_may_change_is_said(
    web: FlaskClient, stopped: Run, parts: Services
) -> None:
    latest = stopped.paths.checkpoint("latest")
    facts = json.loads(latest.with_name("latest.pt.json").read_text())
    digest = hashlib.sha256(latest.read_bytes()).hexdigest()
    latest.with_name("latest.pt.json").write_text(json.dumps(facts | {"sha256": digest}))
    parts.store.pin_checkpoint(stopped.run_id, "latest")
    page = web.get(f"/runs/{stopped.run_id}/resume").text
    assert page.count(">pinned</small>") == 2
    assert "Only the length may change" in page
    assert f'href="/runs/new?from={stopped.run_id}"' in page


def test_a_loss_of_an_earlier_step_is_told_as_such(web: FlaskClient, stopped: Run) -> None:
    facts = {"step": 10, "epoch": 1, "val_loss": 4.26017, "evaluated_step": 8}
    sidecar = stopped.paths.checkpoints / "latest.pt.json"
    sidecar.write_text(json.dumps(facts))
    page = web.get(f"/runs/{stopped.run_id}/resume").text
    assert "· last evaluated at step 8: 4.2602" in page
    assert 'title="Last evaluated at step 8">4.2602' in web.get(f"/runs/{stopped.run_id}").text
    sidecar.write_text(json.dumps(facts | {"evaluated_step": 10}))
    page = web.get(f"/runs/{stopped.run_id}/resume").text
    assert "· validation loss 4.2602" in page


def test_a_checkpoint_of_which_nothing_is_known_can_be_tried(
    web: FlaskClient, stopped: Run
) -> None:
    (stopped.paths.checkpoints / "latest.pt.json").write_text("{")
    page = web.get(f"/runs/{stopped.run_id}/resume").text
    assert 'name="from" value="latest" checked' in page
    assert "Nothing is known of it" in page
    assert "Goes on from latest.pt, once it is found whole." in page
