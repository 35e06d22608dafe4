"""What may be wrong with a page as it lies on the screen, found by measuring it.

axe-core (MPL-2.0) comes with the package axe-playwright-python; of that only the script is used.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

_RUN_AXE = "() => axe.run(document, { resultTypes: ['violations'] })"

_SETTLE = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

_MEASURE = Path(__file__).with_name("layout.js").read_text(encoding="utf-8")


def settle(page: Page) -> None:
    """Wait until a change of size or theme has been drawn."""
    page.evaluate(_SETTLE)


def layout_faults(page: Page, least_target_px: int) -> list[str]:
    """Return what is too wide, overlaps, is cut off, or is too small to press.

    Links in the flow of a text may be as low as its lines (WCAG 2.2, 2.5.8).
    """
    found: list[str] = page.evaluate(_MEASURE, least_target_px)
    return found


def axe_violations(page: Page) -> list[str]:
    """Return what axe-core finds against the page as it stands, one line for each element."""
    if not page.evaluate("() => typeof axe === 'object'"):
        page.evaluate(AXE)
    result: dict[str, Any] = page.evaluate(_RUN_AXE)
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))} {node.get('failureSummary', '')}"
        for violation in result["violations"]
        for node in violation["nodes"]
    ]
