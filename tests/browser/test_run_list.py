"""The run list under somebody's hands: filtered, sorted, selected and renamed while runs change."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.writing import LiveRun
from tests.conftest import MakeRun
from trainer.runs import RunStore


def row_of(page: Page, run_id: str) -> Locator:
    return page.locator(f"tr[data-run='{run_id}']")


def names(page: Page) -> list[str]:
    """The names of the rows, from the top."""
    return page.locator("tr[data-run] [data-open]").all_inner_texts()


def test_a_filter_is_explained_and_its_mistakes_leave_the_rows(
    visit: Visit, make_run: MakeRun
) -> None:
    page = visit.page
    for number in range(3):
        make_run(name=f"filtered {number}", tags=["filters"], train_loss=float(number))
    page.goto("/?tag=filters")
    page.wait_for_function("() => window.htmx")
    search = page.locator("#search")
    search.fill("loss<")
    expect(page.locator("#filter-fault")).to_contain_text("'loss<' lacks a value.")
    expect(search).to_have_attribute("aria-invalid", "true")
    expect(page.locator("tr[data-run]")).to_have_count(3)
    search.fill("loss<1.5")
    expect(page.locator("tr[data-run]")).to_have_count(2)
    expect(page.locator("#filter-fault")).to_be_hidden()
    expect(page.locator("#counts")).to_contain_text("2 of")
    expect(page).to_have_url(re.compile(r"\?q=loss%3C1.5&tag=filters$"))
    page.get_by_label("How to filter").click()
    page.get_by_text("status:failed,interrupted").first.click()
    expect(search).to_have_value("status:failed,interrupted")
    expect(page.locator("#list-end, .empty")).to_have_count(1)


def test_the_selection_outlives_sorting_and_a_changed_order(
    visit: Visit, live_run: LiveRun, make_run: MakeRun, store: RunStore
) -> None:
    """A row that changes its status leaves the view; what is selected and focused stays."""
    page, tag = visit.page, ["moving"]
    store.annotate(live_run.run_id, tags=tag)
    others = [make_run(name=f"still {number}", tags=tag) for number in range(2)]
    page.goto("/?tag=moving")
    row_of(page, others[0].run_id).locator("input[name=run]").check()
    page.get_by_role("link", name="Name").click()
    expect(page.locator("[data-bulk-words]")).to_have_text("1 selected")
    focused = row_of(page, others[1].run_id).locator("[data-open]")
    focused.focus()
    node = focused.element_handle()
    store.annotate(others[1].run_id, name="a first one")
    expect(page.locator("tr[data-run] [data-open]").first).to_have_text("a first one")
    assert node.evaluate("link => link.isConnected && document.activeElement === link")
    page.goto("/?tag=moving&status=running")
    expect(page.locator("tr[data-run]")).to_have_count(1)
    expect(page.locator("[data-bulk-words]")).to_have_text("1 selected, 1 not shown")
    page.get_by_role("button", name="Clear the selection").click()
    page.goto("/?tag=moving&sort=status")
    live_run.end()
    expect(row_of(page, live_run.run_id).locator("[data-status-word]")).to_have_text("Completed")


def test_a_run_is_renamed_where_its_name_stands(
    visit: Visit, make_run: MakeRun, store: RunStore
) -> None:
    page, run = visit.page, make_run(name="old name", tags=["renaming"])
    page.goto("/?tag=renaming")
    page.keyboard.press("j")
    page.keyboard.press("e")
    page.keyboard.type("thrown away")
    page.keyboard.press("Escape")
    expect(page.locator("[data-open]")).to_have_text("old name")
    page.keyboard.press("e")
    page.keyboard.type("new name")
    page.keyboard.press("Enter")
    expect(page.locator("[data-open]")).to_have_text("new name")
    expect(page.locator("[data-open]")).to_be_focused()
    assert store.get(run.run_id).title == "new name"


def test_many_runs_are_shown_selected_and_deleted_and_come_back(
    visit: Visit, make_run: MakeRun, store: RunStore
) -> None:
    page = visit.page
    for number in range(103):
        make_run(run_id=f"20250101-many-{number:03}", tags=["many"])
    page.goto("/?tag=many")
    expect(page.locator("tr[data-run]")).to_have_count(100)
    page.locator("[data-select-all]").check()
    page.get_by_role("button", name="Select all 103 that match").click()
    expect(page.locator("[data-bulk-words]")).to_have_text("103 selected, 3 not shown")
    page.get_by_role("link", name="Show more").click()
    expect(page.locator("tr[data-run]")).to_have_count(103)
    expect(page.locator("[data-bulk-words]")).to_have_text("103 selected")
    expect(page).to_have_url(re.compile("rows=200"))
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("h1")).to_have_text("Delete 103 runs?")
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#messages")).to_contain_text("103 runs were deleted")
    expect(page.locator("#bulk")).to_be_hidden()
    page.wait_for_function("() => sessionStorage.getItem('selected runs') === '[]'")
    page.get_by_role("link", name="Bring some back").click()
    expect(page.get_by_role("button", name="Bring back", exact=True)).to_be_disabled()
    page.locator("tr", has_text="many-007").get_by_role("checkbox").check()
    expect(page.locator("[data-words]")).to_have_text("1 run selected")
    page.get_by_role("button", name="Bring back", exact=True).click()
    expect(page.locator("#messages")).to_contain_text("It is back.")
    assert store.get("20250101-many-007").annotations.tags == ["many"]
    visit.shot("deleted")
