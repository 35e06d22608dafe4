"""What comes between a page and its run: a killed server, a lost network, a deleted run, a CDN."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import CDN, ROOT, Dashboard, Visit, visiting
from tests.browser.writing import LiveRun
from tests.conftest import MakeRun
from trainer.assets import asset_dir
from trainer.runs import RunStore

STEPS = "() => window.dashboard.history.columns('train_loss').step.slice()"
VENDORED = "/vendor/htmx.min.js"


def wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => window.dashboard?.history.lastStep() === step", arg=step, polling=50
    )


def test_a_killed_server_that_is_started_again_leaves_no_gap(
    visit: Visit, live_run: LiveRun, dashboard: Dashboard
) -> None:
    page = visit.page
    live_run.train(10)
    page.goto(f"/runs/{live_run.run_id}?x=tokens&smooth=0.3")
    wait_for_step(page, 10)
    page.wait_for_function("() => window.htmx")
    dashboard.stop(signal.SIGKILL)
    expect(page.locator("#outage")).to_be_visible()
    expect(page.locator("#connection")).to_contain_text("Server gone")
    expect(page.locator("[data-connection-age]")).to_have_text(re.compile(r"\d+ s"))
    expect(page.locator(".figure-age")).to_be_hidden()
    stop = page.get_by_role("button", name="Stop")
    expect(stop).to_have_attribute("aria-disabled", "true")
    stop.press("Enter")
    expect(page.locator("#announcer")).to_contain_text("Nothing was sent")
    expect(page).to_have_title(re.compile("llm-trainer"))
    visit.shot("server killed")
    live_run.train(20)
    dashboard.start()
    wait_for_step(page, 30)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator("[data-connection-age]")).to_have_text("")
    expect(stop).not_to_have_attribute("aria-disabled", "true")
    expect(page.locator("#outage")).to_be_hidden()
    assert page.evaluate(STEPS) == list(range(1, 31))
    visit.forgive("/socket.io")


def test_a_network_that_goes_and_comes_leaves_no_gap(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    live_run.train(10)
    page.goto(f"/runs/{live_run.run_id}")
    wait_for_step(page, 10)
    page.wait_for_function("() => window.htmx")
    page.context.set_offline(True)
    # A websocket outlives the browser's own switch: it is cut as a cable would cut it.
    page.evaluate("() => window.dispatchEvent(new Event('offline'))")
    expect(page.locator("#connection")).not_to_have_attribute("data-state", "live")
    live_run.train(10)
    page.context.set_offline(False)
    wait_for_step(page, 20)
    assert page.evaluate(STEPS) == list(range(1, 21))
    visit.forgive("socket.io")


def test_a_run_deleted_from_a_terminal_is_told_on_its_page(
    visit: Visit, make_run: MakeRun, dashboard: Dashboard
) -> None:
    page, run = visit.page, make_run(name="junk", points=20)
    page.goto(f"/runs/{run.run_id}")
    wait_for_step(page, 20)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    delete_from_a_terminal(dashboard, run.run_id)
    expect(page.locator("#gone")).to_contain_text("deleted")
    expect(page.locator("#actions")).to_be_hidden()
    assert len(page.evaluate(STEPS)) == 20
    visit.shot("deleted elsewhere")


def delete_from_a_terminal(dashboard: Dashboard, run_id: str) -> None:
    command = [sys.executable, "-m", "trainer", "--home", str(dashboard.home), "delete"]
    command += ["--run-id", run_id, "--yes"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


# ---------------------------------------------------------------------- two tabs, and the way back


def test_two_tabs_agree(visit: Visit, live_run: LiveRun, store: RunStore) -> None:
    page = visit.page
    live_run.train(10)
    page.goto(f"/runs/{live_run.run_id}")
    other = page.context.new_page()
    other.goto("/")
    row = other.locator(f"tr[data-run='{live_run.run_id}']")
    live_run.train(15)
    wait_for_step(page, 25)
    expect(row).to_contain_text("8.7500")
    expect(page.locator("[data-field=train_loss]").first).to_have_text("8.7500")
    live_run.end()
    expect(page.locator(".run-title .status")).to_have_text("Completed")
    expect(row.locator(".status")).to_have_text("Completed")
    other.close()


def test_a_reload_and_the_way_back_keep_the_view(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    live_run.train(60)
    page.goto("/?status=active&sort=name")
    page.locator(f"tr[data-run='{live_run.run_id}'] [data-open]").click()
    wait_for_step(page, 60)
    page.get_by_role("radio", name="Tokens").check()
    page.get_by_text("Logarithmic loss").click()
    expect(page).to_have_url(re.compile("x=tokens&log=1"))
    page.reload()
    wait_for_step(page, 60)
    expect(page.get_by_role("radio", name="Tokens")).to_be_checked()
    expect(page.get_by_label("Logarithmic loss")).to_be_checked()
    page.go_back()
    expect(page).to_have_url(re.compile(r"\?status=active&sort=name$"))
    expect(page.locator("[aria-sort=ascending]")).to_contain_text("Name")
    page.go_forward()
    wait_for_step(page, 60)
    expect(page.get_by_role("radio", name="Tokens")).to_be_checked()


# ---------------------------------------------------------------------- the script from elsewhere


@pytest.fixture
def fresh(browser: Browser, dashboard: Dashboard) -> Iterator[Visit]:
    """A page of a browser that has never been here."""
    context = browser.new_context(base_url=dashboard.url)
    yield from visiting(context)
    context.close()


def loads(page: Page) -> list[str]:
    noted: list[str] = []
    page.on("request", lambda request: noted.append(request.url))
    return noted


def served(body: str) -> dict[str, object]:
    headers = {"Access-Control-Allow-Origin": "*"}
    return {"body": body, "content_type": "text/javascript", "headers": headers}


def fulfil(page: Page, body: str) -> None:
    def answer(route: Route) -> None:
        route.fulfill(**served(body))  # type: ignore[arg-type]  # one mapping of several types

    page.unroute(CDN)
    page.route(CDN, answer)


def test_the_right_script_from_the_cdn_spares_the_copy(fresh: Visit) -> None:
    page, noted = fresh.page, loads(fresh.page)
    fulfil(page, (asset_dir("static") / "vendor" / "htmx.min.js").read_text())
    for _ in range(3):  # A slow machine may lose patience with it once: then it begins anew.
        page.goto("/help")
        page.wait_for_function("() => window.htmx")
        if not any(url.endswith(VENDORED) for url in noted):
            break
        noted.clear()
        page.evaluate("() => sessionStorage.clear()")
    assert not any(url.endswith(VENDORED) for url in noted)
    assert page.evaluate("() => htmx.version") == "2.0.11"


def test_a_script_that_was_tampered_with_is_refused_by_its_hash(fresh: Visit) -> None:
    page, noted = fresh.page, loads(fresh.page)
    fulfil(page, "window.htmx = { version: 'evil' }; window.tampered = true;")
    page.goto("/help")
    page.wait_for_function("() => window.htmx")
    assert page.evaluate("() => [htmx.version, window.tampered]") == ["2.0.11", None]
    assert any(url.endswith(VENDORED) for url in noted)
    fresh.forgive("valid digest in the 'integrity' attribute")


def test_a_cdn_that_was_away_is_not_asked_again(fresh: Visit) -> None:
    page, noted = fresh.page, loads(fresh.page)
    for _ in range(2):
        page.goto("/help")
        page.wait_for_function("() => window.htmx")
    assert sum("jsdelivr" in url for url in noted) == 1


def test_without_a_network_the_cdn_is_not_asked_at_all(fresh: Visit) -> None:
    page, noted = fresh.page, loads(fresh.page)
    page.add_init_script("Object.defineProperty(navigator, 'onLine', { value: false })")
    page.goto("/help")
    page.wait_for_function("() => window.htmx")
    assert not any("jsdelivr" in url for url in noted)
    assert fresh.elsewhere == []
