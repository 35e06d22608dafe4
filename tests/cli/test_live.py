"""Following a run on the screen: progress, news, Ctrl+C and the exit status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click
import pytest

from tests.cli.conftest import Call
from tests.conftest import CREATED_AT, MakeRun
from trainer.cli import live
from trainer.cli.live import Printed, news, show_until_end
from trainer.cli.session import Session
from trainer.runs import Run, RunStore
from trainer.store.records import Annotations, ProcessRecord, ResumedFrom, State


@pytest.fixture
def run_at(store: RunStore) -> Any:
    """Make a look at the run ``a``: ``run_at("running", step=5)``."""

    def make(status: str, **changes: Any) -> Run:
        fields = {"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT}
        state = State(**fields | {"status": status} | changes)
        return Run(state, Annotations(), store.workspace.paths("a"))

    return make


def see(monkeypatch: pytest.MonkeyPatch, *looks: list[Run | type[BaseException]]) -> None:
    """Let each following in turn see these looks at a run, or be interrupted."""
    turns = iter(looks)

    def fake_looks(*_: object) -> Iterator[Run]:
        for look in next(turns):
            if not isinstance(look, Run):
                raise look
            yield look

    monkeypatch.setattr(live, "looks", fake_looks)


def test_plain_lines_are_milestones_and_evaluations(
    run_at: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"phase": "training", "total_steps": 100, "epoch": 1, "epochs": 1}
    looks = [
        run_at("preparing", phase="tokenizing"),
        run_at("running", step=1, **training),
        run_at("running", step=2, **training),
        run_at("running", step=10, val_loss=4.5, val_word_perplexity=90.0, **training),
        run_at("completed", step=100, val_loss=4.5, **training),
    ]
    see(monkeypatch, looks)
    last = show_until_end(Session(), run_at("queued"), Printed(errors=False))
    assert last is looks[-1]
    assert capsys.readouterr().out.splitlines() == [
        "tokenizing",
        "1 % · epoch 1/1",
        "step 10: validation loss 4.5000, word perplexity 90.00",
        "10 % · epoch 1/1 · ppl 90.00",
    ]


def test_a_new_notice_is_told_once(run_at: Any) -> None:
    before, after = run_at("running", notices=["one"]), run_at("running", notices=["one", "two"])
    assert news(run_at("queued"), before) == ["one"]
    assert news(before, after) == ["two"]
    assert news(after, after) == []


def test_a_new_warning_comes_first_and_is_called_one(run_at: Any) -> None:
    before = run_at("queued", warnings=["old"], notices=["one"])
    whole = ResumedFrom(checkpoint="epoch-1", step=450)
    after = run_at("preparing", warnings=["old", "damaged"], notices=["one", "two"], resumed=whole)
    assert [click.unstyle(line) for line in news(before, after)] == [
        "Warning: damaged",
        "epoch-1.pt is whole: training goes on from step 450.",
        "two",
    ]
    assert news(after, after) == []


def test_a_pause_and_its_end_are_news(run_at: Any) -> None:
    training = run_at("running", process=ProcessRecord(pid=7, boot_id="b", start_ticks=1))
    paused = replace(training, paused=True)
    assert news(training, paused) == ["paused by kill -STOP; kill -CONT 7 lets it go on"]
    assert news(paused, training) == ["The run goes on."]
    assert news(paused, run_at("interrupted")) == []


def test_an_old_evaluation_is_no_news_when_following_begins(run_at: Any) -> None:
    resumed = run_at("queued", val_loss=4.5)
    assert news(resumed, run_at("running", val_loss=4.5)) == []


@pytest.mark.parametrize(
    ("status", "exit_status"),
    [("completed", 0), ("stopped", 0), ("failed", 1), ("interrupted", 1)],
)
def test_the_exit_status_is_the_runs(run_at: Any, status: str, exit_status: int) -> None:
    assert live.exit_status(run_at(status)) == exit_status


def with_latest(run: Run) -> None:
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").touch()


@pytest.fixture
def stops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which runs were asked to stop."""
    asked: list[str] = []

    def stop(store: RunStore, run_id: str) -> Run:
        asked.append(run_id)
        return store.get(run_id)

    monkeypatch.setattr(RunStore, "stop", stop)
    return asked


@pytest.mark.usefixtures("no_worker")
def test_the_first_ctrl_c_stops_the_run_and_goes_on_watching(
    call: Call, make_run: MakeRun, run_at: Any, monkeypatch: pytest.MonkeyPatch, stops: list[str]
) -> None:
    with_latest(make_run(run_id="a", status="stopped"))
    see(monkeypatch, [run_at("running"), KeyboardInterrupt], [run_at("stopped", step=3)])
    answer = call("resume", "--run-id", "a", "--follow")
    assert answer.status == 0
    assert stops == ["a"]
    assert "Asked the run to save a checkpoint and stop" in answer.err
    assert answer.out.endswith("Run a was stopped: 3 steps.\n")


@pytest.mark.usefixtures("no_worker")
def test_the_second_ctrl_c_lets_go(
    call: Call, make_run: MakeRun, run_at: Any, monkeypatch: pytest.MonkeyPatch, stops: list[str]
) -> None:
    with_latest(make_run(run_id="a", status="stopped"))
    see(monkeypatch, [run_at("running"), KeyboardInterrupt], [KeyboardInterrupt])
    answer = call("resume", "--run-id", "a", "--follow")
    assert answer.status == 130
    assert stops == ["a"]
    assert "Let go: the run stops by itself. See: llm-trainer status --run-id a" in answer.err


@pytest.mark.usefixtures("no_worker")
def test_following_with_json_keeps_standard_output_for_the_document(
    call: Call, make_run: MakeRun, run_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_latest(make_run(run_id="a", status="stopped"))
    see(monkeypatch, [run_at("running", phase="training"), run_at("failed")])
    answer = call("resume", "--run-id", "a", "--follow", "--json")
    assert answer.status == 1
    assert answer.json["run_id"] == "a"
    assert "Run a failed." in answer.err
