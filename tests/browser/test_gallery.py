"""Every page in every state: measured, examined by axe-core and photographed in both themes."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser import gallery
from tests.browser.conftest import LOSS_CANVAS, Dashboard, Visit, visiting
from tests.browser.gallery import Pages
from tests.browser.inspection import axe_violations, layout_faults, settle
from tests.browser.standin import LIKELY, Writer, wait_for
from trainer.inference.telling import Figure
from trainer.runs import RunStore
from trainer.store import process
from trainer.store.records import ProcessRecord
from trainer.store.workspace import Workspace

Theme = Literal["light", "dark"]
View = tuple[int, Theme]

TELEPHONE, DESK, WALL = 390, 1440, 2560
EVERY_VIEW: list[View] = [
    (width, theme) for width in (DESK, TELEPHONE, WALL) for theme in ("light", "dark")
]
# Every width and every theme is among these; all of them take `make soak` its time.
FOUR_VIEWS: list[View] = [(DESK, "light"), (TELEPHONE, "dark"), (WALL, "light"), (DESK, "dark")]
# Runs differ in their messages and colours alone, which the pages above show.
TWO_VIEWS: list[View] = FOUR_VIEWS[:2]
LEAST_TARGET_PX = 24

WHOLE = [
    "runs",
    "runs-none-match",
    "new-run",
    "run-completed",
    "run-damaged",
    "resume",
    "compare",
    "playground",
    "help",
    "delete",
    "error-no-run",
]
STATES = [
    "runs-archived",
    "runs-deleted",
    "runs-filter-fault",
    "run-running",
    "run-stopped",
    "run-stopping",
    "run-queued",
    "run-preparing",
    "run-failed",
    "run-interrupted",
    "run-failed-at-once",
    "run-told",
    "compare-one",
    "playground-waiting",
    "score",
    "error-no-page",
]
WITHOUT_A_CURVE = {"run-damaged", "run-queued", "run-preparing", "run-failed-at-once"}


@pytest.fixture(scope="module")
def owner() -> Iterator[ProcessRecord]:
    """A process that lives, for the runs that are active."""
    child = subprocess.Popen(["sleep", "infinity"])
    record = process.identify(child.pid)
    assert record is not None
    yield record
    child.kill()
    child.wait()


@pytest.fixture(scope="module")
def shown(
    browser: Browser, owner: ProcessRecord, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BrowserContext, Pages]]:
    """A dashboard with a run in every state, and the addresses of its pages."""
    dashboard = Dashboard(tmp_path_factory.mktemp("gallery"))
    pages = gallery.fill(RunStore(Workspace(dashboard.home)), owner)
    dashboard.start()
    context = browser.new_context(base_url=dashboard.url, reduced_motion="reduce")
    yield context, pages
    context.close()
    dashboard.stop()


@pytest.fixture
def visit(shown: tuple[BrowserContext, Pages]) -> Iterator[Visit]:
    yield from visiting(shown[0])


def examine(visit: Visit, name: str, views: list[View]) -> list[str]:
    """Return every fault of the page that is open; keep a picture of each view."""
    found: list[str] = []
    for width, theme in views:
        visit.page.emulate_media(color_scheme=theme)
        visit.page.set_viewport_size({"width": width, "height": 1300 if width == WALL else 900})
        settle(visit.page)
        faults = layout_faults(visit.page, LEAST_TARGET_PX if width == TELEPHONE else 0)
        faults += axe_violations(visit.page)
        found += [f"{width} {theme}: {fault}" for fault in faults]
        visit.shot(f"{name} {width} {theme}", whole=True)
    return found


def agree(found: list[str]) -> None:
    """There must be no fault; all of them are told."""
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "views"),
    [*((name, FOUR_VIEWS) for name in WHOLE), *((name, TWO_VIEWS) for name in STATES)],
    ids=[*WHOLE, *STATES],
)
def test_nothing_is_wrong_with_a_page(
    visit: Visit, shown: tuple[BrowserContext, Pages], name: str, views: list[View]
) -> None:
    page, path = visit.page, shown[1][name]
    page.set_viewport_size({"width": views[0][0], "height": 900})
    page.goto(path)
    page.wait_for_function("() => window.htmx")
    if name.startswith("run-") and name not in WITHOUT_A_CURVE:
        expect(page.locator(LOSS_CANVAS)).to_be_visible()
    assert page.title().endswith(" · llm-trainer")
    agree(examine(visit, name, views))
    if name.startswith("error-"):
        visit.forgive(f"404 (NOT FOUND) (http://127.0.0.1:{page.url.split(':')[2]}")


@pytest.mark.soak
@pytest.mark.parametrize("name", [*WHOLE, *STATES])
def test_every_page_in_every_view(
    visit: Visit, shown: tuple[BrowserContext, Pages], name: str
) -> None:
    visit.page.goto(shown[1][name])
    visit.page.wait_for_function("() => window.htmx")
    agree(examine(visit, name, EVERY_VIEW))
    visit.forgive("404 (NOT FOUND)")


def test_the_gallery_has_no_other_page(shown: tuple[BrowserContext, Pages]) -> None:
    assert sorted(shown[1]) == sorted([*WHOLE, *STATES])


def test_open_menus_and_mistakes_are_whole_too(
    visit: Visit, shown: tuple[BrowserContext, Pages]
) -> None:
    page, pages = visit.page, shown[1]
    page.set_viewport_size({"width": DESK, "height": 900})
    page.goto(pages["run-completed"])
    page.get_by_label("More actions").click()
    found = examine(visit, "menu", TWO_VIEWS)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    found += examine(visit, "shortcuts", TWO_VIEWS)
    page.goto(pages["new-run"])
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_label("Epochs", exact=True)).to_be_focused()
    found += examine(visit, "new-run-mistake", TWO_VIEWS)
    page.goto(pages["runs"])
    page.locator("input[name=run]").first.check()
    found += examine(visit, "runs-selected", TWO_VIEWS)
    visit.forgive("422 (")
    agree(found)


def test_tinted_texts_and_what_else_could_have_come_are_whole_too(
    visit: Visit, shown: tuple[BrowserContext, Pages]
) -> None:
    page, writer = visit.page, Writer(visit.page)
    page.set_viewport_size({"width": DESK, "height": 900})
    page.goto(shown[1]["playground"])
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    for _ in range(2):
        page.get_by_role("button", name="Side by side").click()
    page.keyboard.press("Control+Enter")
    wait_for(page, writer.asked, 3)
    for number in range(2):
        writer.say("token", number, row=0, text=" upon a hill", tokens=3, logprobs=LIKELY)
        writer.finish(number, " upon a hill")
    error = {
        "kind": "not_found",
        "message": "There is no checkpoint 'best'.",
        "hint": "Try latest.",
    }
    writer.say("failed", 2, error=error)
    expect(page.get_by_role("button", name="Write", exact=True)).to_be_visible()
    found = examine(visit, "playground-written", TWO_VIEWS)
    page.locator("[data-text] .token").nth(2).click()
    expect(page.locator("#alternatives")).to_be_visible()
    found += examine(visit, "playground-alternatives", TWO_VIEWS)
    page.goto(shown[1]["score"])
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_role("textbox", name="Text").fill(" upon a hill")
    page.get_by_label("Compare with").select_option(index=2)
    page.keyboard.press("Control+Enter")
    wait_for(page, writer.scored, 2)
    for asked in writer.scored:
        figures = [asdict(Figure("perplexity", "Perplexity", "31.00", "how it wavered", 31.0, 3))]
        writer.emit("done", id=asked["id"], tokens=LIKELY, figures=figures)
    expect(page.get_by_role("row", name="Perplexity")).to_contain_text("31.00")
    found += examine(visit, "score-result", TWO_VIEWS)
    agree(found)


def test_500_runs_are_as_calm_as_ten(
    visit: Visit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dashboard = Dashboard(tmp_path_factory.mktemp("many"))
    gallery.many(RunStore(Workspace(dashboard.home)), 500)
    dashboard.start()
    visit.page.goto(f"{dashboard.url}/")
    expect(visit.page.locator("tr[data-run]").nth(20)).to_be_attached()
    agree(examine(visit, "runs-500", TWO_VIEWS))
    visit.page.goto("about:blank")  # A page that stays open would miss its server.
    dashboard.stop()


def test_a_stranger_is_asked_for_the_token_and_finds_the_first_page(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dashboard = Dashboard(tmp_path_factory.mktemp("guarded"), "--host", "0.0.0.0")
    dashboard.start()
    token = re.search(r"token=(\S+)", dashboard.said())
    assert token is not None
    context = browser.new_context(base_url=dashboard.url, reduced_motion="reduce")
    for visit in visiting(context):
        page = visit.page
        page.goto("/")
        found = examine(visit, "token", TWO_VIEWS)
        page.get_by_label("Token").fill(token[1])
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Train your first language model")
        assert "token" not in page.url
        found += examine(visit, "first-run", FOUR_VIEWS)
        visit.forgive("401 (")
        agree(found)
    context.close()
    dashboard.stop()
