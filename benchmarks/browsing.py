"""What a person waits for, measured in Chromium: to the first paint, to the drawn chart, to a step.

The script ``drawn.js`` notes in the page when curves are painted. Nothing is kept between visits:
each has a context, and so a cache, of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Request, sync_playwright

SCRIPT = Path(__file__).with_name("drawn.js")
_OPTIONS = [
    # A route through this process would slow every request down.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
]
_PATIENCE_MS = 60_000
_LOSS = "[data-chart=loss] .u-over"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium of the system.

    Raises:
        RuntimeError: there is none.
    """
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_OPTIONS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser) -> Iterator[Page]:
    """Open an empty page that knows nothing yet; beyond this machine it reaches nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(path=SCRIPT)
    page = context.new_page()
    page.set_default_timeout(_PATIENCE_MS)
    yield page
    context.close()


def first_paint_ms(page: Page) -> float:
    """Return when the page that was opened showed its first content, since the navigation."""
    return float(
        page.evaluate(
            "new Promise(tell => new PerformanceObserver(list => list.getEntries().forEach(entry =>"
            " { if (entry.name === 'first-contentful-paint') tell(entry.startTime); }))"
            ".observe({ type: 'paint', buffered: true }))"
        )
    )


def drawn_ms(page: Page, answers: int = 1) -> float:
    """Return when all curves of the page were painted, since the navigation.

    Args:
        answers: so many answers with curves must have come first.
    """
    page.wait_for_function(
        "answers => { const { asked, answers: came, strokes } = benchmark;"
        " return came.length >= answers && came.length === asked"
        " && strokes.some(at => at > Math.max(...came)); }",
        arg=answers,
        polling=50,
    )
    painted = "benchmark.strokes.find(at => at > Math.max(...benchmark.answers))"
    return float(page.evaluate(painted))


def zoom_ms(page: Page) -> float:
    """Zoom into the middle of the loss chart; return how long until what it shows was painted."""
    page.evaluate("benchmark.answers.length = benchmark.strokes.length = benchmark.asked = 0")
    box = page.locator(_LOSS).bounding_box()
    assert box is not None
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.4 * box["width"], height)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], height, steps=4)
    page.mouse.up()
    return drawn_ms(page) - float(page.evaluate("benchmark.released"))


class Weight:
    """The bytes of scripts and styles, as transferred, each address once."""

    def __init__(self, page: Page) -> None:
        self._sizes: dict[str, int] = {}
        page.on("requestfinished", self._weigh)

    def _weigh(self, request: Request) -> None:
        if request.resource_type in ("script", "stylesheet"):
            self._sizes.setdefault(request.url, request.sizes()["responseBodySize"])

    @property
    def kilobytes(self) -> float:
        """All of it, in kB of 1000 bytes."""
        return sum(self._sizes.values()) / 1000


def steps_shown(page: Page, seconds: float) -> list[tuple[int, float]]:
    """Return the steps that the page shows for a while, and when each was, in Unix seconds."""
    page.evaluate("benchmark.steps.length = 0")
    # Waiting through the page keeps its own events coming.
    page.wait_for_timeout(1000 * seconds)
    shown: Sequence[Any] = page.evaluate("benchmark.steps")
    return [(int(step), float(at_ms) / 1000) for step, at_ms in shown]


def settle(page: Page) -> None:
    """Wait until a page has come to rest, so that it takes no time from what follows."""
    page.wait_for_load_state("load")
    time.sleep(0.5)
