"""A real browser, a real server and a run that is being written, for the tests of this folder.

Chromium is Debian's; without it these tests skip and say so. Screenshots go to ``artifacts/``.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Route,
    expect,
    sync_playwright,
)

from tests.browser.writing import LiveRun
from trainer.runs import RunStore
from trainer.store.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "artifacts"
LOSS_CANVAS = "[data-chart=loss] [data-plot] canvas"
CDN = "https://cdn.jsdelivr.net/**"
PATIENCE_SECONDS = 20.0
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Dashboard:
    """The dashboard as a process of its own, on a port that it keeps when it is started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "trainer", "web", "--port", str(self.port)]
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "web.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | {"LLM_TRAINER_HOME": str(self.home)},
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            told = (self.home / "web.log").read_text()
            assert time.monotonic() < deadline, told
            assert self._process.poll() is None, told
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except (URLError, OSError):
            return False


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium.

    It ends with this folder: Playwright keeps an event loop running, and the tests of the terminal
    view start their own.
    """
    found = shutil.which("chromium")
    if found is None:
        if os.environ.get("LLM_TRAINER_REQUIRE_BROWSER") == "1":
            pytest.fail("Chromium is required here and is not installed")
        pytest.skip("Chromium is not installed")
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=CHROMIUM_OPTIONS)
        yield made
        made.close()


@pytest.fixture(scope="package")
def dashboard(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The dashboard of a workspace that all tests share; each makes runs of its own."""
    made = Dashboard(tmp_path_factory.mktemp("dashboard"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(dashboard: Dashboard) -> RunStore:
    """The runs of that dashboard."""
    return RunStore(Workspace(dashboard.home))


@pytest.fixture
def live_run(store: RunStore) -> Iterator[LiveRun]:
    """A run that this process writes as the worker would."""
    run = LiveRun(store.workspace)
    yield run
    run.end()


class Visit:
    """A page, what it asked for from elsewhere, and what its console complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        # That the blocked script could not be loaded is the point of blocking it.
        if message.type in ("error", "warning") and "jsdelivr" not in message.location["url"]:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def _on_request(self, request: Request) -> None:
        if "//127.0.0.1:" not in request.url and not request.url.startswith("data:"):
            self.elsewhere.append(request.url)

    def shot(self, name: str) -> None:
        """Keep a picture of what is in view."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTIFACTS / f"{name}.png")


def loss_picture(page: Page) -> str:
    """The pixels of the loss chart."""
    data: str = page.locator(LOSS_CANVAS).evaluate("canvas => canvas.toDataURL()")
    return data


def wait_for_another_picture(page: Page, before: str) -> None:
    """Wait until the loss chart has moved."""
    page.wait_for_function(
        "([place, before]) => document.querySelector(place).toDataURL() !== before",
        arg=[LOSS_CANVAS, before],
    )


def refuse(route: Route) -> None:
    route.abort()


@pytest.fixture
def visit(browser: Browser, dashboard: Dashboard) -> Iterator[Visit]:
    """A page of the dashboard in a browser without a network; it must not complain."""
    context = browser.new_context(
        base_url=dashboard.url, viewport={"width": 1440, "height": 900}, reduced_motion="reduce"
    )
    page = context.new_page()
    page.route(CDN, refuse)
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    made = Visit(page)
    yield made
    context.close()
    assert made.complaints == []
