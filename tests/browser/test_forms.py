"""Starting, resuming and comparing runs in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Request, Route, expect

from tests.browser.conftest import Dashboard, Visit
from tests.browser.writing import LiveRun
from tests.conftest import write_run
from trainer.config import Layer, build
from trainer.runs import RunStore


@pytest.fixture
def two_runs(store: RunStore) -> list[str]:
    """Two ended runs with curves and different settings."""
    made = [
        write_run(
            store, points=30, name=f"compared {epochs}", step=30, best_val_loss=4.0 - epochs / 10,
            config=build(Layer("test", {"training.epochs": epochs})),
        )
        for epochs in (1, 2)
    ]  # fmt: skip
    return [run.run_id for run in made]


def test_the_plan_follows_what_is_typed_and_a_slow_answer_never_overtakes(visit: Visit) -> None:
    page = visit.page
    page.goto("/runs/new")
    page.wait_for_function("() => window.htmx")
    plan = page.locator("#plan")
    expect(plan).to_contain_text("3 passes over the text")
    held = list[Route]()

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/runs/new/preview", hold_the_first)
    epochs = page.get_by_label("Epochs", exact=True)
    with page.expect_request("**/runs/new/preview"):
        epochs.fill("7")
    epochs.fill("9")
    page.evaluate("""() => {
      window.told = [];
      const plan = document.getElementById("plan");
      const passes = () => plan.textContent.match(/(\\d+) passes/)[1];
      plan.addEventListener("htmx:afterSwap", () => told.push(passes()));
    }""")
    held[0].continue_()
    expect(plan).to_contain_text("9 passes over the text")
    assert page.evaluate("told") in (["7", "9"], ["9"])
    page.unroute("**/runs/new/preview")
    expect(page.locator("[data-setting='training.epochs']")).to_have_attribute("data-changed", "")
    page.get_by_role("button", name=re.compile("Default: 3")).click()
    expect(plan).to_contain_text("3 passes over the text")
    expect(epochs).to_be_focused()
    page.get_by_label("Preference").fill("banana")
    expect(page.locator("#device-preference-note")).to_contain_text("no GPU that fits 'banana'")
    visit.shot("new-run")


def test_settings_are_found_and_mistakes_take_the_focus(visit: Visit) -> None:
    page = visit.page
    page.goto("/runs/new")
    page.wait_for_function("() => window.htmx")
    search = page.get_by_label("Find a setting")
    search.fill("warm")
    expect(page.locator("#setting-count")).to_have_text("2 settings")
    expect(page.get_by_label("Warmup fraction")).to_be_visible()
    expect(page.get_by_label("Epochs", exact=True)).to_be_hidden()
    search.fill("")
    expect(page.get_by_label("Warmup fraction")).to_be_hidden()
    page.get_by_label("Sequence length").fill("7")
    search.fill("dropout")
    page.get_by_label("Dropout").fill("2")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_label("Sequence length")).to_be_focused()
    expect(page.get_by_label("Sequence length")).to_have_value("7")
    page.get_by_role("link", name="Dropout").first.click()
    expect(page.get_by_label("Dropout")).to_be_focused()
    visit.complaints = [told for told in visit.complaints if "422" not in told]


def test_a_form_works_without_scripts(browser: Browser, dashboard: Dashboard) -> None:
    context = browser.new_context(base_url=dashboard.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/runs/new")
    page.get_by_label("Epochs", exact=True).fill("5")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#plan")).to_contain_text("5 passes over the text")
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("5")
    page.get_by_text("Begin with a configuration file").click()
    paste = page.get_by_label("paste it here")
    paste.fill("[training]\nepochs = 11\nnonsense = 1\n")
    page.get_by_role("button", name="Fill the form").click()
    expect(page.locator("#toml-error")).to_contain_text("training.nonsense is not a setting")
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("5")
    paste.fill("[training]\nepochs = 11\n")
    page.get_by_role("button", name="Fill the form").click()
    expect(page.get_by_label("Epochs", exact=True)).to_have_value("11")
    context.close()


def test_runs_are_compared_hidden_and_taken_out(visit: Visit, two_runs: list[str]) -> None:
    page, asked = visit.page, list[str]()

    def note(request: Request) -> None:
        if "/metrics?" in request.url:
            asked.append(request.url)

    page.on("request", note)
    page.goto("/compare?" + "&".join(f"run={run_id}" for run_id in two_runs))
    legend = page.locator("[data-series=train_loss] [data-legend]")
    expect(legend).to_contain_text("compared 2")
    expect(page.locator("[data-series=train_loss] canvas")).to_be_visible()
    expect(page.locator(".best").first).to_contain_text("3.8000")
    assert len(asked) == 2
    second = page.locator(f"[data-run='{two_runs[1]}'] [data-toggle]")
    second.hover()
    second.click()
    expect(second).to_have_attribute("aria-pressed", "false")
    expect(legend).not_to_contain_text("compared 2")
    assert f"hide={two_runs[1]}" in page.url
    page.reload()
    expect(second).to_have_attribute("aria-pressed", "false")
    settings = page.get_by_role("region", name="Settings")
    expect(settings.locator("tbody tr:visible")).to_have_count(1)
    page.get_by_text("Also those that are alike").click()
    expect(settings.get_by_text("training.batch_size")).to_be_visible()
    page.set_viewport_size({"width": 390, "height": 844})
    # The charts follow their panels a frame later.
    page.wait_for_function("() => document.documentElement.scrollWidth <= 390")
    visit.shot("compare-narrow")
    page.get_by_label("Take compared 1 out").click()
    expect(page.get_by_role("heading", name="One more run is needed")).to_be_visible()
    page.get_by_placeholder("Search the runs").type("compared")
    page.locator(f"[data-add='{two_runs[0]}']").click()
    expect(page.get_by_role("heading", name="2 runs compared")).to_be_visible()


def test_a_compared_run_goes_on_while_it_trains(
    visit: Visit, two_runs: list[str], live_run: LiveRun
) -> None:
    live_run.train(5)
    page = visit.page
    page.goto(f"/compare?smooth=0&run={two_runs[0]}&run={live_run.run_id}")
    chart = page.locator("[data-series=train_loss] [data-legend] > span").last
    expect(chart).to_contain_text("8.9500")
    live_run.train(20)
    expect(chart).not_to_contain_text("8.9500")
    steps = page.get_by_role("row", name=re.compile("^Steps"))
    expect(steps).to_contain_text("25")


def test_the_sentence_of_a_resume_follows_the_form(visit: Visit, live_run: LiveRun) -> None:
    live_run.train(10)
    visit.page.goto(f"/runs/{live_run.run_id}/resume")
    expect(visit.page.get_by_text("there is nothing to resume")).to_be_visible()
    expect(visit.page.get_by_text("is already active: process")).to_be_visible()
