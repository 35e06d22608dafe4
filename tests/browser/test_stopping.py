"""What a page shows of a run that does not answer: a silence, a countdown, and its death."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.conftest import MakeRun
from trainer import deadline
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.records import ProcessRecord

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def silent_worker() -> Iterator[ProcessRecord]:
    """A process that lives, says nothing and takes no notice of SIGTERM."""
    child = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    record = process.identify(child.pid)
    assert record is not None
    yield record
    process.kill_group(record)
    child.communicate()


def test_a_silent_run_is_counted_down_and_its_death_is_told(
    visit: Visit, store: RunStore, make_run: MakeRun, silent_worker: ProcessRecord
) -> None:
    heard = time.monotonic() - 20
    run = make_run(
        name="silent",
        status="running",
        phase="training",
        process=silent_worker,
        heartbeat_uptime_seconds=heard,
    )
    page = visit.page
    page.goto(f"/runs/{run.run_id}")
    expect(page.locator("#silence")).to_contain_text(
        re.compile(r"gave no word for \d+ s; the process lives \(very busy, or it hangs\)\.")
    )
    expect(page.locator("[data-countdown]")).to_be_hidden()
    store.stop(run.run_id, deadline_seconds=7200)
    expect(page.locator("[data-countdown]")).to_have_text(
        re.compile(r"killed in (2 h|1 h 5\d min) unless it ends before")
    )
    expect(page.locator(".run-title .status")).to_have_text("Stopping")
    visit.shot("stopping")
    deadline.kill_at_once(run.paths, silent_worker)
    expect(page.locator(".run-title .status")).to_have_text("Interrupted")
    expect(page.locator("[data-error=message]")).to_have_text(
        f"The training process {silent_worker.pid} was ended at once, as was asked for."
    )
    expect(page.locator("[data-countdown]")).to_be_hidden()
    expect(page.locator("#silence")).to_be_hidden()


def test_the_list_tells_of_a_death(
    visit: Visit, make_run: MakeRun, silent_worker: ProcessRecord
) -> None:
    run = make_run(name="doomed", status="running", process=silent_worker)
    visit.page.goto("/")
    status = visit.page.locator(f"tr[data-run='{run.run_id}'] .status")
    expect(status).to_have_text("Running")
    process.send_signal(silent_worker, signal.SIGKILL)
    expect(status).to_have_text("Interrupted")
