"""The dashboard in a real browser, on runs that are being written while it looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import (
    CDN,
    Dashboard,
    Visit,
    loss_picture,
    wait_for_another_picture,
)
from tests.browser.writing import LiveRun
from tests.conftest import MakeRun
from trainer.assets import asset_dir
from trainer.runs import RunStore

LOSS = "[data-chart=loss] [data-plot]"


def drawn_steps(page: Page) -> list[int]:
    """The steps of the training curve that the page holds."""
    steps: list[int] = page.evaluate(
        "() => window.dashboard.history.columns('train_loss').step.slice()"
    )
    return steps


def wait_for_step(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => window.dashboard?.history.lastStep() === step", arg=step, polling=50
    )


# ---------------------------------------------------------------------- a run that trains


def test_the_page_of_a_run_moves_with_it(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    live_run.train(20)
    page.goto(f"/runs/{live_run.run_id}")
    wait_for_step(page, 20)
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    expect(page.locator(f"{LOSS} canvas")).to_be_visible()
    before, chart = loss_picture(page), page.locator(f"{LOSS} canvas").element_handle()

    live_run.train(80)
    live_run.evaluate()
    wait_for_step(page, 100)
    assert drawn_steps(page) == list(range(1, 101))
    expect(page.locator("[data-field=train_loss]").first).to_have_text("8.0000")
    expect(page.locator("[data-field=best_val_loss]").first).to_have_text("8.1000")
    expect(page.locator("[data-steps]")).to_have_text("step 100 of 400 · epoch 1 of 4")
    expect(page.locator("[data-time]").first).to_have_text("5 min left")
    expect(page.locator("#progress progress")).to_have_js_property("value", 25)
    expect(page.locator("[data-moment-texts]")).to_contain_text("written at step 100")
    expect(page.locator("[data-log]")).to_contain_text("step 100/400")
    expect(page.locator("[data-events] li").first).to_contain_text("Saved latest.pt")
    expect(page).to_have_title(re.compile("25 % · live"))
    wait_for_another_picture(page, before)
    assert chart.evaluate("canvas => canvas.isConnected"), "the chart was replaced"
    visit.shot("run live")

    live_run.end()
    expect(page.locator("#actions")).to_contain_text("Resume")
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator(".run-title .status")).to_have_text("Completed")
    assert visit.elsewhere == [CDN.replace("**", "npm/htmx.org@2.0.11/dist/htmx.min.js")]


def test_a_resumed_run_is_drawn_anew_from_its_checkpoint(visit: Visit, live_run: LiveRun) -> None:
    live_run.train(30)
    live_run.evaluate()
    visit.page.goto(f"/runs/{live_run.run_id}")
    wait_for_step(visit.page, 30)
    live_run.resume_from(10)
    live_run.train(5)
    wait_for_step(visit.page, 15)
    assert drawn_steps(visit.page) == list(range(1, 16))
    expect(visit.page.locator("[data-events] li").first).to_contain_text("Resumed")


def test_axis_smoothing_and_zoom_stand_in_the_address(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    live_run.train(200)
    page.goto(f"/runs/{live_run.run_id}?smooth=0.9")
    wait_for_step(page, 200)
    expect(page.locator("[data-smooth]")).to_have_text("0.90")
    page.get_by_role("radio", name="Tokens").check()
    page.get_by_text("Logarithmic loss").click()
    expect(page).to_have_url(re.compile(r"x=tokens&log=1"))
    curve = page.locator(f"{LOSS} .u-over")
    curve.hover(position={"x": 100, "y": 50})
    page.mouse.down()
    curve.hover(position={"x": 200, "y": 60})
    curve.hover(position={"x": 300, "y": 60})
    page.mouse.up()
    expect(page.get_by_role("button", name="Whole curve")).to_be_visible()
    expect(page).to_have_url(re.compile(r"smooth=0\.9&x=tokens&log=1&from=[\d.]+&to=[\d.]+"))
    page.reload()
    expect(page.get_by_role("button", name="Whole curve")).to_be_visible()
    page.keyboard.press("0")
    expect(page.get_by_role("button", name="Whole curve")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("from="))


# ---------------------------------------------------------------------- the list


def test_rows_move_in_place_and_new_runs_appear(
    visit: Visit, live_run: LiveRun, store: RunStore
) -> None:
    page = visit.page
    live_run.train(10)
    page.goto("/")
    row = page.locator(f"tr[data-run='{live_run.run_id}']")
    expect(row).to_contain_text("8.9000")
    row.locator("input[name=run]").check()
    live_run.train(10)
    expect(row).to_contain_text("8.8000")
    expect(row.locator("input[name=run]")).to_be_checked()
    expect(page.locator("#bulk")).to_contain_text("1 selected")
    other = LiveRun(store.workspace, "another")
    expect(page.locator(f"tr[data-run='{other.run_id}']")).to_contain_text("another")
    other.end()
    expect(page.locator(f"tr[data-run='{other.run_id}']")).to_contain_text("Completed")
    store.delete(other.run_id)
    expect(page.locator(f"tr[data-run='{other.run_id}']")).to_have_count(0)


def test_the_list_is_worked_by_keyboard(visit: Visit, make_run: MakeRun) -> None:
    page = visit.page
    runs = [make_run(name=name, tags=["keys"]) for name in ("alpha", "omega")]
    page.goto("/?tag=keys")
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#bulk")).to_contain_text("2 selected")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("/compare"))
    expect(page.locator("h1")).to_have_text("2 runs compared")
    page.go_back()
    page.keyboard.press("/")
    page.wait_for_function("() => window.htmx")
    with page.expect_response(lambda response: "q=omega" in response.url):
        page.keyboard.type("omega")
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=omega"))
    expect(page.locator("#search")).to_be_focused()
    page.locator("#search").blur()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/runs/{runs[1].run_id}"))


# ---------------------------------------------------------------------- the new-run form


def test_the_form_shows_what_it_makes_and_marks_mistakes(visit: Visit) -> None:
    page = visit.page
    page.goto("/runs/new")
    page.wait_for_function("() => window.htmx")
    page.get_by_label("Batch size").fill("2")
    expect(page.locator("#plan")).to_contain_text("--set training.batch_size=2")
    expect(page.locator("#plan")).to_contain_text("512")
    page.get_by_label("Epochs", exact=True).fill("0")
    page.get_by_role("button", name="Start the run").click()
    expect(page.locator("#training-epochs-error")).to_contain_text("0 is not allowed")
    expect(page.get_by_label("Epochs", exact=True)).to_be_focused()
    expect(page.get_by_label("Batch size")).to_have_value("2")
    visit.shot("new run with a mistake")
    visit.complaints[:] = [text for text in visit.complaints if "422" not in text]


def test_tags_leave_room_for_the_name_and_the_other_columns(
    visit: Visit, live_run: LiveRun, make_run: MakeRun
) -> None:
    live_run.train(5)
    figures = {"train_loss": 3.5, "best_val_loss": 3.6, "best_val_word_perplexity": 88.21}
    facts = {"device_name": "NVIDIA H200 NVL 141GB", "tokens_per_second": 123456.0}
    run = make_run(name="a short name", tags=["t" * 25, *"abcde"], points=9, **figures, **facts)
    page = visit.page
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto("/")
    frame = page.locator(".runs-frame")
    assert frame.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    name = page.locator(f"tr[data-run='{run.run_id}'] [data-open]")
    assert name.evaluate("node => node.scrollWidth <= node.clientWidth")
    visit.shot("tags")


def test_an_empty_chart_says_why(visit: Visit, live_run: LiveRun, make_run: MakeRun) -> None:
    page = visit.page
    page.goto(f"/runs/{make_run(status='failed').run_id}")
    words = page.locator("[data-wait]:visible")
    expect(words.first).to_have_text("This run ended before its first point")
    expect(words.nth(4)).to_have_text("This run ended before its first evaluation")
    live_run.train(5)
    page.goto(f"/runs/{live_run.run_id}")
    wait_for_step(page, 5)
    expect(words).to_have_text(
        ["Waiting for the first evaluation", *["Waiting for the first reading"] * 2]
    )


# ---------------------------------------------------------------------- what every page has


def test_the_theme_is_switched_and_kept(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(color_scheme="light")
    page.goto("/help")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.keyboard.press("t")
    dark = page.evaluate(ground)
    page.reload()
    assert light != dark
    assert page.evaluate(ground) == dark


# ---------------------------------------------------------------------- the network and the CDN


@pytest.mark.parametrize("network", ["blocked", "hanging", "there"])
def test_the_page_is_whole_within_a_second_whatever_the_network(
    browser: Browser, dashboard: Dashboard, make_run: MakeRun, network: str
) -> None:
    make_run(name="one")
    context = browser.new_context(base_url=dashboard.url)
    page, held = context.new_page(), list[Route]()
    loads: list[str] = []
    page.on("request", lambda request: loads.append(request.url))
    vendored = (asset_dir("static") / "vendor" / "htmx.min.js").read_text()
    answers: dict[str, Callable[[Route], None]] = {
        "blocked": lambda route: route.abort(),
        "hanging": lambda route: held.append(route),
        "there": lambda route: route.fulfill(
            body=vendored,
            content_type="text/javascript",
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    }
    page.route(CDN, answers[network])
    page.goto("/")  # Waits for the load event: a script that hangs must not hold it up.
    page.wait_for_function("() => window.htmx", timeout=3000)
    milliseconds = page.evaluate("() => performance.now()")
    for route in held:
        route.fulfill(body="window.ranTwice = true", content_type="text/javascript",
                      headers={"Access-Control-Allow-Origin": "*"})  # fmt: skip
    expect(page.locator("tbody")).to_contain_text("one")
    fell_back = any(url.endswith("/vendor/htmx.min.js") for url in loads)
    # A slow machine may lose patience with a network that is there: that is no mistake.
    assert fell_back or network == "there"
    assert page.evaluate("() => window.htmx.version") == "2.0.11"
    assert page.evaluate("() => window.ranTwice") is None
    context.close()
    assert milliseconds < 3000


def test_everything_is_there_without_scripts(
    browser: Browser, dashboard: Dashboard, live_run: LiveRun
) -> None:
    live_run.train(20)
    live_run.evaluate()
    context = browser.new_context(base_url=dashboard.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="live", exact=True).first.click()
    expect(page.locator("h1")).to_have_text("live")
    expect(page.locator(".chart-picture")).to_be_visible()
    expect(page.locator("[data-field=train_loss]").first).to_have_text("8.8000")
    live_run.train(20)
    page.get_by_role("link", name="Show the current numbers").click()
    expect(page.locator("[data-field=train_loss]").first).to_have_text("8.6000")
    context.close()


def test_delete_is_asked_and_undone(visit: Visit, make_run: MakeRun, store: RunStore) -> None:
    page, run = visit.page, make_run(name="junk")
    page.goto(f"/runs/{run.run_id}")
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete …").click()
    page.get_by_role("button", name="Delete the run").click()
    expect(page.locator("#messages")).to_contain_text("“junk” was deleted")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("h1")).to_have_text("junk")
    expect(page.locator("[data-flash=done]")).to_have_text("It is back.")
    page.locator(":root[data-scripts]").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator("#messages")).to_be_hidden()
    assert json.loads(run.paths.state.read_text())["status"] == "completed"
