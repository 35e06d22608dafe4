"""Without a mouse: every shortcut, what must not set one off, and where the focus is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.writing import LiveRun
from tests.conftest import MakeRun
from trainer.runs import Run
from webapp.shortcuts import SHORTCUTS

TABLE = {shortcut.action: shortcut.key for group in SHORTCUTS for shortcut in group.shortcuts}
FOCUSED = "() => document.activeElement"


def at(address: str) -> Callable[[Page], None]:
    return lambda page: expect(page).to_have_url(re.compile(address))


def focused(place: str) -> Callable[[Page], None]:
    return lambda page: expect(page.locator(place).first).to_be_focused()


def seen(place: str) -> Callable[[Page], None]:
    return lambda page: expect(page.locator(place).first).to_be_visible()


EVERYWHERE: dict[str, Callable[[Page], None]] = {
    "help": seen("#shortcuts"),
    "runs": at(r":\d+/$"),
    "new": at("/runs/new"),
    "playground": at("/playground"),
    "theme": seen(":root[data-theme=dark]"),
}
LIST: dict[str, Callable[[Page], None]] = {
    "search": focused("#search"),
    "next": focused("tr[data-run] [data-open]"),
    "previous": focused("tr[data-run]:last-child [data-open]"),
    "open": at("/runs/2"),
    "select": seen("#bulk"),
    "rename": focused("tr[data-run] .rename-form input"),
    "compare": at("/compare"),
}
RUN: dict[str, Callable[[Page], None]] = {
    "stop": focused("[data-shortcut-target=stop]"),
    "resume": at("/resume"),
    "generate": at("/playground"),
    "log-axis": at("log=1"),
    "reset-zoom": lambda page: expect(page).not_to_have_url(re.compile("from=")),
    "zoom-in": lambda page: expect(page).to_have_url(re.compile(r"from=(?!5&to=15\b)")),
    "zoom-out": lambda page: expect(page).not_to_have_url(re.compile(r"from=5&to=15\b")),
    "earlier": lambda page: expect(page.locator("#moment")).to_have_value("0"),
    "later": lambda page: expect(page.locator("#moment")).to_have_value("1"),
}
ELSEWHERE = {"write", "halt"}
"""Those of the playground, which its own tests press."""


def press(page: Page, *actions: str) -> None:
    for action in actions:
        page.keyboard.press(TABLE[action])


def test_the_table_is_what_these_tests_press() -> None:
    assert {*EVERYWHERE, *LIST, *RUN, *ELSEWHERE} == set(TABLE)


def test_shortcuts_that_work_everywhere(visit: Visit) -> None:
    for action, check in EVERYWHERE.items():
        visit.page.goto("/help")
        press(visit.page, action)
        check(visit.page)


def test_shortcuts_of_the_list(visit: Visit, make_run: MakeRun) -> None:
    page = visit.page
    for name in ("one", "two"):
        make_run(name=name, tags=["pressed"])
    before = {action: ["next"] for action in ("open", "select", "rename")}
    before["compare"] = ["next", "select", "next", "select"]
    page.goto("/help")
    for action, check in LIST.items():
        page.evaluate("() => sessionStorage.clear()")  # The selection outlives a page.
        page.goto("/?tag=pressed")
        expect(page.locator("tr[data-run]")).to_have_count(2)
        press(page, *before.get(action, []), action)
        check(page)


def test_shortcuts_of_a_run(visit: Visit, live_run: LiveRun, make_run: MakeRun) -> None:
    page = visit.page
    live_run.train(30)
    live_run.evaluate()
    live_run.train(30)
    live_run.evaluate()
    kept = with_a_checkpoint(make_run(name="kept", status="stopped", points=20))
    for action, check in RUN.items():
        run_id = kept.run_id if action in ("resume", "generate") else live_run.run_id
        page.goto(f"/runs/{run_id}?from=5&to=15")
        page.wait_for_function("() => window.dashboard?.history.lastStep() > 0")
        if run_id == live_run.run_id:
            expect(page.locator("#moment")).to_have_attribute("aria-valuetext", re.compile("60"))
        if action == "later":
            press(page, "earlier")
        press(page, action)
        check(page)


def with_a_checkpoint(run: Run) -> Run:
    run.paths.checkpoints.mkdir(parents=True)
    run.paths.checkpoint("latest").write_bytes(b"weights")
    (run.paths.checkpoints / "latest.pt.json").write_text('{"step": 20, "epoch": 1}')
    return run


# ---------------------------------------------------------------------- what must not set one off


def test_no_shortcut_acts_while_somebody_types_or_holds_a_modifier(visit: Visit) -> None:
    page = visit.page
    page.goto("/runs/new")
    keys = [key for key in TABLE.values() if len(key) == 1]
    name = page.locator("#name")
    name.focus()
    for key in keys:
        page.keyboard.press(key)
    expect(name).to_have_value("".join(keys))
    name.blur()
    for modifier in ("Alt", "Meta"):
        for key in ("r", "p", "t", "s", "g"):
            page.keyboard.press(f"{modifier}+{key}")
    # Those with Ctrl are the browser's own, which a page hears first.
    page.evaluate(
        "() => { for (const key of 'rnpt?') document.body.dispatchEvent("
        "new KeyboardEvent('keydown', { key, ctrlKey: true, bubbles: true })); }"
    )
    expect(page).to_have_url(re.compile("/runs/new$"))
    expect(page.locator("#shortcuts")).to_be_hidden()
    expect(page.locator(":root[data-theme]")).to_have_count(0)


def test_single_keys_can_be_switched_off(visit: Visit) -> None:
    page = visit.page
    page.goto("/help")
    press(page, "help")
    page.get_by_text("Single keys do something").click()
    page.keyboard.press("Escape")
    page.reload()
    page.locator(":root[data-scripts]").wait_for()
    press(page, "theme", "playground")
    expect(page.locator(":root[data-theme]")).to_have_count(0)
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_text("Single keys do something").click()
    page.keyboard.press("Escape")
    press(page, "playground")
    expect(page).to_have_url(re.compile("/playground"))


# ---------------------------------------------------------------------- focus


def test_the_way_past_the_top_bar(visit: Visit) -> None:
    page = visit.page
    page.goto("/help")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_menus_and_dialogs_give_the_focus_back(visit: Visit, make_run: MakeRun) -> None:
    page = visit.page
    page.goto(f"/runs/{make_run(name='menu').run_id}")
    more = page.get_by_label("More actions")
    sheet = page.locator("details[data-menu][open] .menu-sheet")
    more.focus()
    page.keyboard.press("Enter")
    expect(sheet).to_be_visible()
    page.keyboard.press("Tab")
    press(page, "theme")
    expect(page.locator(":root[data-theme]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(sheet).to_have_count(0)
    expect(more).to_be_focused()
    page.get_by_label("Name, tags and notes").click()
    expect(page.get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    more.focus()
    page.keyboard.press("Enter")
    page.locator("h1").click()
    expect(sheet).to_have_count(0)
    more.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Tab")
    expect(sheet).to_have_count(0)

    more.focus()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "() => document.activeElement === document.body"
            " || document.querySelector('#shortcuts').contains(document.activeElement)"
        )
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    expect(more).to_be_focused()


def test_a_press_on_the_words_of_a_checkbox_keeps_its_menu_open(
    visit: Visit, make_run: MakeRun
) -> None:
    make_run(name="columns")
    page = visit.page
    page.goto("/")
    expect(page.locator("body")).to_have_attribute("data-connection", "live")
    page.locator("details[data-menu] > summary", has_text="Columns").click()
    menu = page.locator("details[data-menu][open]")
    words = menu.locator("label", has_text="Speed")
    box = words.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    expect(words.locator("input")).not_to_be_checked()
    expect(menu).to_be_visible()


REACHED = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const style = getComputedStyle(node);
  const label = node.closest("label");
  const marked = (one) => one && getComputedStyle(one).outlineStyle !== "none";
  const seen = marked(node) || marked(node.nextElementSibling) || marked(label)
    || style.boxShadow !== "none" && style.borderColor !== "";
  node.dataset.reached = "";
  return seen ? "" : node.outerHTML.slice(0, 120);
}"""

LEFT_OUT = """() => [...document.querySelectorAll(
    "a[href], button, input, select, textarea, summary")]
  .filter((node) => node.checkVisibility({ checkVisibilityCSS: true }) && node.type !== "hidden"
    && !node.disabled && node.tabIndex >= 0 && node.dataset.reached === undefined
    && !(node.type === "radio" && node.form?.querySelector(`[name="${node.name}"][data-reached]`))
    && !(node.type === "radio" && document.querySelector(`[name="${node.name}"][data-reached]`)))
  .map((node) => node.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("place", ["/", "/runs/new", "run", "/playground", "/help"])
def test_everything_is_reached_by_tab_and_shows_its_focus(
    visit: Visit, make_run: MakeRun, place: str
) -> None:
    run = with_a_checkpoint(make_run(name="reached", status="stopped", points=20))
    visit.page.goto(f"/runs/{run.run_id}" if place == "run" else place)
    visit.page.wait_for_function("() => window.htmx")
    unseen = []
    for _ in range(400):
        visit.page.keyboard.press("Tab")
        told = visit.page.evaluate(REACHED)
        if told is None:
            break
        if told:
            unseen.append(told)
    assert visit.page.evaluate(LEFT_OUT) == []
    assert unseen == []


# ---------------------------------------------------------------------- the theme


def test_the_theme_goes_round_and_other_tabs_follow(visit: Visit) -> None:
    page = visit.page
    page.emulate_media(color_scheme="light")
    page.goto("/help")
    other = page.context.new_page()
    other.goto("/help")
    chosen = "() => document.documentElement.dataset.theme ?? 'system'"
    for theme in ("dark", "light", "system"):
        press(page, "theme")
        assert page.evaluate(chosen) == theme
        other.wait_for_function(f"() => ({chosen})() === '{theme}'")
        expect(page.locator("#announcer")).to_contain_text("Theme: ")
    other.close()


def test_the_theme_is_there_before_anything_is_painted(visit: Visit) -> None:
    """The choice is applied by a script in the head, before the body is read."""
    page = visit.page
    page.emulate_media(color_scheme="light")
    page.goto("/help")
    press(page, "theme")
    page.add_init_script(
        "new MutationObserver(() => { if (document.body) window.atBody ??="
        " document.documentElement.dataset.theme; })"
        ".observe(document, { childList: true, subtree: true });"
    )
    page.reload()
    assert page.evaluate("() => window.atBody") == "dark"


def test_paper_is_light_and_has_no_controls(visit: Visit, make_run: MakeRun) -> None:
    page = visit.page
    page.emulate_media(color_scheme="dark")
    page.goto(f"/runs/{make_run(name='printed', points=20).run_id}")
    page.wait_for_function("() => window.dashboard?.history.lastStep() > 0")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert min(map(int, re.findall(r"\d+", ground))) > 240
    expect(page.locator(".topbar")).to_be_hidden()
    expect(page.get_by_role("button")).to_have_count(0)
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    expect(page.locator(":root[data-theme]")).to_have_count(0)
