"""The whole way in a browser: a real training is watched, stopped, resumed and written with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import (
    ROOT,
    Dashboard,
    Visit,
    loss_picture,
    wait_for_another_picture,
)
from tests.texts import TINY, write_text
from trainer.runs import RunStore

PATIENCE_MS = 60_000
SETTINGS = (
    *TINY,
    "training.max_steps=20000",
    "training.epochs=10000",
    "evaluation.every_steps=40",
    "checkpoint.every_steps=40",
)


def start(dashboard: Dashboard, text: Path) -> str:
    """Start a run from the command line, as a person in a terminal would."""
    options = [word for pair in SETTINGS for word in ("--set", pair)]
    command = [sys.executable, "-m", "trainer", "train", "--home", str(dashboard.home), "--json"]
    command += ["--set", f"data.dataset_name={text}", *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    run_id: str = json.loads(result.stdout)["run_id"]
    return run_id


def wait_past(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => window.dashboard?.history.lastStep() > step", arg=step, timeout=PATIENCE_MS
    )


def status_of(page: Page, words: str) -> None:
    expect(page.locator(".run-title .status")).to_have_text(words, timeout=PATIENCE_MS)


def test_a_training_is_watched_stopped_resumed_and_written_with(
    visit: Visit, dashboard: Dashboard, store: RunStore, tmp_path: Path
) -> None:
    page, run_id = visit.page, start(dashboard, write_text(tmp_path / "text.txt"))
    page.goto(f"/runs/{run_id}")
    wait_past(page, 1)
    status_of(page, "Running")
    before = loss_picture(page)
    wait_past(page, 50)
    wait_for_another_picture(page, before)
    expect(page.locator("[data-moment-texts]")).to_contain_text("The", timeout=PATIENCE_MS)
    expect(page.locator("[data-log]")).to_contain_text("loss", timeout=PATIENCE_MS)
    visit.shot("training")

    page.get_by_role("button", name="Stop").click()
    status_of(page, "Stopped")
    stopped_at = store.get(run_id).state.step
    assert stopped_at is not None
    visit.shot("training stopped")

    page.get_by_role("link", name="Resume", exact=True).click()
    expect(page.locator("#sentence")).to_contain_text(f"Goes on from step {stopped_at:,}")
    page.get_by_role("button", name="Resume").click()
    status_of(page, "Running")
    wait_past(page, stopped_at)
    steps: list[int] = page.evaluate("() => window.dashboard.history.columns('train_loss').step")
    assert steps == sorted(set(steps)), "the curve has a gap or doubles back"
    page.get_by_role("button", name="Stop").click()
    status_of(page, "Stopped")

    page.get_by_role("link", name="Generate", exact=True).click()
    page.get_by_role("textbox", name="Prompt").fill("The")
    page.get_by_role("textbox", name="Length").fill("20")
    page.get_by_role("button", name="Write").click()
    expect(page.locator("[data-report]")).to_have_text(
        re.compile(r"^\d+ tokens · .*tok/s · seed \d+ · reached the length$"), timeout=PATIENCE_MS
    )
    expect(page.locator(".written-prompt")).to_have_text("The")
    visit.shot("playground")
