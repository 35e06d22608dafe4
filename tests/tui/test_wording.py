"""What is said about a run."""

from __future__ import annotations

import pytest

from tests.conftest import CREATED_AT, MakeRun
from trainer.config import Config
from trainer.store.checkpoints import Checkpoint
from trainer.store.records import ErrorRecord, Progress, QueueStanding, State
from trainer.tui import wording


def a_state(**fields: object) -> State:
    base = {"run_id": "a", "created_at": CREATED_AT, "updated_at": CREATED_AT}
    return State(**(base | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"status": "running", "step": 42, "total_steps": 100}, "running 42 %"),
        ({"status": "running", "step": 999, "total_steps": 1000}, "running 99 %"),
        ({"status": "running"}, "running"),
        ({"status": "stopping", "step": 1, "total_steps": 2}, "stopping 50 %"),
        ({"status": "completed", "step": 100, "total_steps": 100}, "completed"),
    ],
)
def test_status(fields: dict[str, object], words: str) -> None:
    assert wording.status_words(a_state(**fields)) == words


def test_a_paused_run_tells_how_far_it_came() -> None:
    assert wording.paused_words(a_state(status="running", step=1, total_steps=2)) == "paused 50 %"
    assert wording.paused_words(a_state(status="preparing")) == "paused"


def test_a_queued_run_tells_its_place(make_run: MakeRun) -> None:
    second = QueueStanding(device="cpu", position=2, ahead=["a"], after="baseline")
    assert wording.status_words(a_state(status="queued", queue=second)) == "queued 2nd"
    waiting = make_run(name="next", status="stopped", queue=second)
    assert wording.start_words(waiting, "next is started.") == (
        "next is queued, 2nd for cpu, after baseline."
    )
    assert wording.start_words(make_run(name="next"), "next is started.") == "next is started."


def test_time_is_what_is_left_or_what_it_took() -> None:
    running = a_state(status="running", eta_seconds=200, elapsed_seconds=100)
    assert wording.time_words(running) == "3 min 20 s left"
    assert wording.time_words(a_state(status="completed", elapsed_seconds=100)) == "1 min 40 s"
    assert wording.time_words(a_state(status="running")) == "–"


@pytest.mark.parametrize(
    ("percent", "parts"),
    [(0, ("", "┈┈┈┈")), (50, ("━━", "┈┈")), (74.9, ("━━", "┈┈")), (100, ("━━━━", ""))],
)
def test_bar(percent: float, parts: tuple[str, str]) -> None:
    assert wording.bar(percent, 4) == parts


def test_a_long_step_has_a_progress_of_its_own() -> None:
    progress = Progress(phase="evaluating", done=1, total=4, unit="windows")
    state = a_state(status="running", step=50, total_steps=100, progress=progress)
    assert wording.phase_percent(state) == 25.0
    assert wording.phase_percent(a_state(status="running", step=50, total_steps=100)) == 50.0


def test_figures_name_what_is_not_known_yet() -> None:
    assert wording.figures(a_state(step=0, total_steps=1000))[:3] == [
        ("epoch", "–"),
        ("step", "0/1,000"),
        ("train", "–"),
    ]


def test_endings(make_run: MakeRun) -> None:
    done = make_run(name="first", best_val_word_perplexity=85.21, elapsed_seconds=185)
    assert wording.ending_words(done) == (
        "first is complete after 3 min 5 s; best validation perplexity 85.21."
    )
    assert wording.ending_words(make_run(name="a", status="stopped", elapsed_seconds=5)) == (
        "a has stopped after 5 s."
    )
    error = ErrorRecord(kind="training", message="The loss is not finite.", hint="Lower it.")
    failed = make_run(name="second", status="failed", error=error)
    assert wording.ending_words(failed) == "second failed: The loss is not finite. Lower it."


@pytest.mark.parametrize(
    ("active", "shown", "total", "query", "words"),
    [
        (0, 0, 0, "", "0 runs"),
        (0, 1, 1, "", "1 run"),
        (2, 1400, 1400, "", "2 active · 1,400 runs"),
        (1, 3, 14, "lr", "1 active · 3 of 14 runs match 'lr'"),
    ],
)
def test_counts(active: int, shown: int, total: int, query: str, words: str) -> None:
    assert wording.counts_words(active, shown, total, query) == words


def test_the_next_run() -> None:
    assert wording.next_run_words(None, None) == (
        "Next run: epochs as configured, device as configured"
    )
    assert wording.next_run_words(1, "cuda:0") == "Next run: 1 epoch, device cuda:0"


def test_the_size_of_a_configuration() -> None:
    assert wording.model_words(Config()) == (
        "5.31 M parameters · 4,096 tokens a step · context 256"
    )


def test_what_resuming_will_do() -> None:
    state = a_state(status="stopped", step=420, epochs=3)
    latest = Checkpoint(name="latest", step=420, epoch=2)
    assert wording.resume_words(state, latest, 2, None) == (
        "Goes on from step 420 to the end of epoch 5, on the same curve."
    )
    earlier = Checkpoint(name="epoch-1", step=419, epoch=1)
    assert wording.resume_words(state, earlier, 0, None) == (
        "Goes on from step 419 to the end of epoch 3, doing 1 step again."
    )


@pytest.mark.parametrize(
    ("more_epochs", "steps_per_epoch", "target"),
    [
        (0, 100, " to step 500"),
        (2, 100, " and adds 2 epochs: about 200 steps more"),
        (1, None, " and adds 1 epoch"),
    ],
)
def test_what_resuming_a_run_cut_short_will_do(
    more_epochs: int, steps_per_epoch: int | None, target: str
) -> None:
    state = a_state(step=420, epochs=9, total_steps=500, steps_per_epoch=steps_per_epoch)
    latest = Checkpoint(name="latest", step=420, epoch=2)
    words = wording.resume_words(state, latest, more_epochs, 500)
    assert words == f"Goes on from step 420{target}, on the same curve."


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "–"),
        ({"precision": "off"}, "fp32"),
        ({"precision": "bf16", "compiled": True}, "bf16, compiled"),
    ],
)
def test_precision(fields: dict[str, object], words: str) -> None:
    assert wording.precision_words(a_state(**fields)) == words


def test_a_checkpoint_to_choose_from() -> None:
    checkpoint = Checkpoint(name="best", step=1200, epoch=3, val_loss=3.25, bytes=3 << 20)
    assert wording.checkpoint_words(checkpoint) == "best · step 1,200 · val loss 3.2500 · 3.0 MiB"


def test_farewell() -> None:
    assert wording.farewell(1).startswith("Training goes on: 1 run active.")
    assert wording.farewell(2).startswith("Training goes on: 2 runs active.")
