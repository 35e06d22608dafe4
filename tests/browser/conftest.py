"""A real browser, a real server and a run that is being written, for the tests of this folder.

Chromium is Debian's; without it these tests skip and say so. Screenshots go to
``artifacts/screenshots``, or to the folder that ``LLM_TRAINER_SCREENSHOTS`` names.
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
from urllib.error import HTTPError, URLError

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Route,
    WebSocket,
    expect,
    sync_playwright,
)

from tests.browser.writing import LiveRun
from trainer.runs import RunStore
from trainer.store.workspace import Workspace
from webapp.security import HTMX_URL

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = Path(os.environ.get("LLM_TRAINER_SCREENSHOTS") or ROOT / "artifacts" / "screenshots")
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

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self._options = options
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "trainer", "web", "--port", str(self.port)]
        command += self._options
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
            assert time.monotonic() < deadline, self.said()
            assert self._process.poll() is None, self.said()
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except HTTPError:
            return True  # It answers, if only to ask for its token.
        except (URLError, OSError):
            return False

    def said(self) -> str:
        """Return what it has printed."""
        return (self.home / "web.log").read_text()


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
    """A page, what it asked for from elsewhere, and what went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", self._on_socket)
        page.on("requestfailed", self._on_failure)

    def _on_console(self, message: ConsoleMessage) -> None:
        # That the blocked script could not be loaded is the point of blocking it.
        if message.type in ("error", "warning") and message.location["url"] != HTMX_URL:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def _on_socket(self, socket: WebSocket) -> None:
        self._note(socket.url)

    def _on_failure(self, request: Request) -> None:
        # A page that is left breaks off what it was still asking for.
        if request.url != HTMX_URL and request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.url}: {request.failure}")

    def _note(self, url: str) -> None:
        if "//127.0.0.1:" not in url and not url.startswith("data:"):
            self.elsewhere.append(url)

    def forgive(self, words: str) -> None:
        """Take back complaints that a test has provoked."""
        self.complaints[:] = [told for told in self.complaints if words not in told]

    def shot(self, name: str, *, whole: bool = False) -> None:
        """Keep a picture of what is in view, or of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)

    def end(self) -> None:
        """Close the page; it must not have complained, nor asked for anything from elsewhere."""
        self.page.close()
        assert self.complaints == []
        assert set(self.elsewhere) <= {HTMX_URL}


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
    yield from visiting(context)
    context.close()


def visiting(context: BrowserContext) -> Iterator[Visit]:
    """Open a page that cannot reach the CDN, and see that it was content when it is closed."""
    page = context.new_page()
    page.route(CDN, refuse)
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    made = Visit(page)
    yield made
    made.end()
