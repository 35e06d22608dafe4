"""What the screens look like; after a wanted change: ``pytest tests/tui --snapshot-update``."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.conftest import MakeRun
from tests.tui.conftest import GPU, PlayedApp, StillMachine, shown
from trainer.config import Layer
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.metrics import MetricsWriter
from trainer.store.records import ErrorRecord
from trainer.tui import draft, title_bar
from trainer.tui.draft import Base

Compare = Callable[..., bool]


@pytest.fixture(autouse=True)
def same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out what differs from one machine to another."""
    monkeypatch.setattr(title_bar, "short_path", lambda _: "~/experiments")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(Input, "cursor_blink", False)


@pytest.fixture
def runs(make_run: MakeRun) -> None:
    """A failed run, a complete one and one under way."""
    error = ErrorRecord(kind="training", message="The loss is not finite.", hint="Lower the rate.")
    figures = {"train_loss": 3.1419, "val_word_perplexity": 68.44, "tokens_per_second": 6120.0}
    make_run(run_id="20260101-000000-aaaa", name="lr 6e-3", status="failed", error=error)
    make_run(run_id="20260101-000000-bbbb", tags=["base"], elapsed_seconds=804.0, **figures)
    run = make_run(
        run_id="20260102-000000-cccc",
        name="quickstart",
        points=40,
        status="running",
        process=process.identify(os.getpid()),
        phase="training",
        epoch=2,
        epochs=3,
        step=40,
        total_steps=100,
        eta_seconds=200.0,
        elapsed_seconds=20.0,
        val_loss=1.75,
        parameters=2_560_000,
        device="cuda:0",
        device_name="NVIDIA A30",
        dataset="python-docs",
        notices=["The hub did not answer, so python-docs is used instead of WikiText-2."],
        **figures,
    )
    writer = MetricsWriter(run.paths.metrics)
    rows = [{"step": 20, "val_loss": 3.5}, {"step": 40, "val_loss": 1.75}]
    writer.write(("evaluations", row) for row in rows)
    writer.close()
    run.paths.train_log.write_text("2026-01-02T03:04:05.678Z INFO step 40/100  loss 1.1000\n")


def test_no_runs(app: PlayedApp, snap_compare: Compare) -> None:
    assert snap_compare(app, run_before=lambda pilot: shown(pilot, "No runs yet"))


@pytest.mark.usefixtures("runs")
def test_small_terminal(app: PlayedApp, snap_compare: Compare) -> None:
    assert snap_compare(app, run_before=lambda pilot: shown(pilot, "● val 1.7500"))


@pytest.mark.usefixtures("runs")
def test_large_terminal(store: RunStore, snap_compare: Compare) -> None:
    app = PlayedApp(store, machine=StillMachine(GPU))
    assert snap_compare(
        app, terminal_size=(140, 40), run_before=lambda pilot: shown(pilot, "● val 1.7500")
    )


@pytest.mark.usefixtures("runs")
def test_failed_run_in_a_light_theme(app: PlayedApp, snap_compare: Compare) -> None:
    async def select(pilot: Pilot[None]) -> None:
        app.theme = "textual-light"
        await pilot.press("down", "down")
        await shown(pilot, "no loss to draw")

    assert snap_compare(app, run_before=select)


def test_form_with_a_mistake(
    app: PlayedApp, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Base("quickstart", "quickstart.toml", Layer("quickstart.toml", {"training.epochs": 20}))
    monkeypatch.setattr(draft, "shipped_bases", lambda: [base])

    async def fill(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await shown(pilot, "training.epochs")
        pilot.app.screen.query_one("#setting-batch_size", Input).value = "many"
        await shown(pilot, "= 'many' is not allowed")

    assert snap_compare(app, run_before=fill)


@pytest.mark.usefixtures("runs")
def test_playground_with_a_scored_text(
    app: PlayedApp, store: RunStore, snap_compare: Compare
) -> None:
    checkpoints = store.workspace.paths("20260102-000000-cccc").checkpoints
    checkpoints.mkdir(parents=True)
    (checkpoints / "latest.pt").touch()

    async def score(pilot: Pilot[None]) -> None:
        await shown(pilot, "● val 1.7500")
        await pilot.press("e")
        text = "A plain text with a few extraordinarily unforeseeable words\nand another line."
        pilot.app.screen.query_one("#score-text", TextArea).text = text
        await pilot.press("ctrl+s")
        await shown(pilot, "perplexity")
        await pilot.press("p", "down", "left", "left", "left", "left")
        await shown(pilot, "likeliest")

    assert snap_compare(app, run_before=score)


@pytest.mark.usefixtures("runs")
def test_stop_dialog(app: PlayedApp, snap_compare: Compare) -> None:
    async def ask(pilot: Pilot[None]) -> None:
        await shown(pilot, "● val 1.7500")
        await pilot.press("s")
        await shown(pilot, "Save and stop")

    assert snap_compare(app, run_before=ask)
