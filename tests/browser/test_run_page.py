"""The page of one run, worked by pointer and by keyboard while the run goes on."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Page, Request, expect

from tests.browser.conftest import Visit
from tests.browser.writing import LiveRun, point
from tests.conftest import MakeRun
from trainer.runs import Run, RunStore
from trainer.store.metrics import MetricsWriter
from trainer.store.records import ErrorRecord

LOSS = "[data-chart=loss]"
SPIKE_STEP = 7_321
LONG = 20_000


def open_run(page: Page, run_id: str, query: str = "") -> None:
    page.goto(f"/runs/{run_id}{query}")
    expect(page.locator(f"{LOSS} canvas")).to_be_visible()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")


def long_run(make_run: MakeRun) -> Run:
    """A run of 20,000 steps at a loss of 2, but for one step."""
    run = make_run(name="long", step=LONG, total_steps=LONG)
    writer = MetricsWriter(run.paths.metrics)
    rows = (point(step) | {"train_loss": 2.0 + step / 1e6} for step in range(1, LONG + 1))
    writer.write(
        ("points", row | ({"train_loss": 50.0} if row["step"] == SPIKE_STEP else {}))
        for row in rows
    )
    writer.close()
    return run


def coloured_pixels_at(page: Page, loss: float) -> int:
    """How many pixels beside the height of a loss are not those of the empty chart."""
    count: int = page.evaluate(
        """loss => {
            const { plot } = window.dashboard.view.charts[0];
            const y = Math.round(plot.valToPos(loss, "y", true));
            const [left, width] = [plot.bbox.left, plot.bbox.width].map(Math.floor);
            const { data } = plot.ctx.getImageData(left, y, width, 1);
            const differs = (i) => Math.abs(data[i] - data[i + 2]) > 24;
            return [...Array(width).keys()].filter((x) => differs(4 * x)).length;
        }""",
        loss,
    )
    return count


def metrics_asked(asked: list[Request]) -> list[tuple[int, int]]:
    """The parts of the curve that a page has asked for."""
    queries = (parse_qs(urlsplit(one.url).query) for one in asked if "/metrics?" in one.url)
    return [(int(one["from"][0]), int(one["to"][0])) for one in queries if "from" in one]


def test_a_spike_of_one_step_is_seen_and_zooming_finds_it(visit: Visit, make_run: MakeRun) -> None:
    page, run = visit.page, long_run(make_run)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    open_run(page, run.run_id)
    expect(page.locator(f"{LOSS} [data-counts]")).to_contain_text("of 20 k points")
    page.wait_for_function("() => window.dashboard.view.charts[0].plot.scales.y.max > 50")
    assert 1 <= coloured_pixels_at(page, 40.0) <= 6
    plot = page.locator(f"{LOSS} [data-plot]")
    plot.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator(f"{LOSS} [data-said]")).to_contain_text("Training")
    for _ in range(6):
        page.keyboard.press("+")
    expect(page).to_have_url(re.compile(r"from=\d+(\.\d+)?&to="))
    page.wait_for_function("() => window.dashboard.history.details?.series.train_loss.points")
    expect(page.locator(f"{LOSS} [data-counts]")).to_have_text("")
    first, last = metrics_asked(asked)[-1]
    assert (first, last < LONG) == (0, True)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("from="))
    before = len(metrics_asked(asked))
    page.keyboard.press("Home")
    page.keyboard.press("+")
    page.wait_for_function("() => window.dashboard.history.details")
    page.keyboard.press("Escape")
    page.wait_for_function("() => !window.dashboard.history.details")
    assert len(metrics_asked(asked)) <= before + 1
    expect(plot).to_have_attribute("aria-label", re.compile("highest 50.0000 at step 7,3"))
    visit.shot("run zoomed and back")


def test_a_chart_is_saved_as_a_file_and_read_as_a_table(visit: Visit, make_run: MakeRun) -> None:
    page, run = visit.page, make_run(points=30, name="short", step=30)
    open_run(page, run.run_id)
    menu = page.get_by_label("Loss: save, or show as a table")
    menu.click()
    with page.expect_download() as picture:
        page.locator(f"{LOSS} [data-picture]").click()
    assert picture.value.suggested_filename == "short loss.png"
    with page.expect_download() as table:
        page.locator(f"{LOSS} [data-csv]").click()
    lines = table.value.path().read_text().splitlines()
    assert lines[0] == "curve,step,value,smallest,largest,smoothed"
    assert lines[2].startswith("Training,2,4.9,4.9,4.9,4.9")
    page.locator(f"{LOSS} [data-table]").click()
    shown = page.get_by_role("region", name="Loss as a table")
    expect(shown).to_be_focused()
    expect(shown.locator("tbody tr").last).to_contain_text("step 30")
    visit.shot("chart as a table")


def test_other_runs_are_laid_over_go_on_and_stay_in_the_address(
    visit: Visit, make_run: MakeRun, live_run: LiveRun
) -> None:
    page, run = visit.page, make_run(points=30, name="mine")
    live_run.train(20)
    open_run(page, run.run_id, "?smooth=0")
    page.get_by_text("Overlay", exact=True).click()
    page.locator("#overlay").get_by_label("live", exact=True).first.check()
    legend = page.locator(f"{LOSS} [data-legend]")
    expect(legend).to_contain_text("live, training8.8000")
    live_run.train(5)
    expect(legend).to_contain_text("live, training8.7500")
    expect(page).to_have_url(re.compile(f"overlay={live_run.run_id}"))
    page.reload()
    expect(legend).to_contain_text("live, training8.7500")
    visit.shot("run overlaid")
    page.get_by_label("Take live away").click()
    expect(legend).not_to_contain_text("live")
    expect(page).not_to_have_url(re.compile("overlay="))


def test_the_whole_log_is_searched_and_read_around_what_was_found(
    visit: Visit, make_run: MakeRun
) -> None:
    page, run = visit.page, make_run(points=2)
    lines = [f"2026-01-02T03:04:05.000Z INFO step {number}/5000" for number in range(1, 5001)]
    lines[1233] = "2026-01-02T03:04:05.000Z WARNING Needle in the hay"
    run.paths.train_log.write_text("".join(f"{line}\n" for line in lines))
    open_run(page, run.run_id)
    box, words = page.locator("[data-log]"), page.locator("[data-log-words]")
    expect(box).to_contain_text("step 5000/5000")
    box.evaluate("box => { box.scrollTop = 0; }")
    expect(box).to_contain_text("step 4700/5000")
    expect(page.get_by_label("Follow")).not_to_be_checked()
    page.get_by_label("Search the whole log").fill("needle")
    expect(words).to_have_text("1 line found; searched the whole log")
    match = box.get_by_role("button", name="Needle in the hay")
    expect(match).to_have_attribute("data-line", "1234")
    match.click()
    expect(words).to_have_text("Around line 1234")
    expect(box).to_contain_text("step 1235/5000")
    expect(page.locator(".log-line-found")).to_contain_text("Needle")
    visit.shot("log around a match")
    page.get_by_role("button", name="Back to what was found").click()
    expect(words).to_contain_text("1 line found")
    page.get_by_label("Search the whole log").fill("")
    page.locator("[data-log-level]").select_option("warning")
    expect(words).to_have_text("1 line found; searched the whole log")
    page.get_by_label("Search the whole log").fill("step")
    expect(words).to_contain_text("Nothing found")
    page.get_by_role("button", name="To the end of the log").click()
    expect(box).to_contain_text("step 5000/5000")
    assert box.locator(".log-line").count() <= 2000


def test_what_one_looks_at_and_types_stays_while_the_run_goes_on(
    visit: Visit, live_run: LiveRun
) -> None:
    page = visit.page
    for _ in range(3):
        live_run.train(5)
        live_run.evaluate()
    open_run(page, live_run.run_id)
    samples, moment = page.locator("#samples"), page.locator("[data-moment-words]")
    page.wait_for_function("() => window.dashboard?.samples.moments.length === 3")
    page.keyboard.press("[")
    page.keyboard.press("[")
    expect(moment).to_contain_text("Step 5")
    page.get_by_label("Name, tags and notes").click()
    name = page.get_by_label("Name", exact=True)
    name.fill("a better name")
    live_run.train(5)
    live_run.evaluate()
    expect(page.locator("[data-steps]")).to_contain_text("step 20 of")
    expect(samples.get_by_role("button", name="1 new evaluation since")).to_be_visible()
    expect(moment).to_contain_text("Step 5")
    expect(name).to_be_focused()
    expect(name).to_have_value("a better name")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="1 new evaluation since").click()
    expect(moment).to_contain_text("Step 20")
    page.get_by_role("button", name="Beside the first").click()
    expect(moment).to_contain_text("15 steps after the first")
    expect(samples.locator(".sample-side")).to_have_count(2)
    visit.shot("samples side by side")


def test_the_tab_tells_how_a_run_stands(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    live_run.train(100)
    open_run(page, live_run.run_id)
    icon = page.locator("link[rel=icon]")
    expect(page).to_have_title("25 % · live · llm-trainer")
    expect(icon).to_have_attribute("href", re.compile(r"^data:image/svg\+xml,.*18\.8%2075\.4"))
    live_run.end()
    expect(page).to_have_title("✓ live · llm-trainer")


def test_a_run_that_is_deleted_elsewhere_says_so_and_comes_back(
    visit: Visit, make_run: MakeRun, store: RunStore
) -> None:
    page, run = visit.page, make_run(points=9, name="gone")
    open_run(page, run.run_id)
    store.delete(run.run_id)
    expect(page.locator("#gone")).to_contain_text("was deleted")
    visit.shot("run deleted elsewhere")
    page.locator("#gone").get_by_role("button", name="Undo").click()
    expect(page.locator("h1")).to_have_text("gone")
    expect(page.locator("#gone")).to_be_hidden()


def test_a_warning_says_when_it_happened_and_can_be_put_away(
    visit: Visit, live_run: LiveRun
) -> None:
    page = visit.page
    live_run.train(5)
    live_run.recorder.notice("The disk was slow.", level="warning", step=5)
    live_run.recorder.flush()
    open_run(page, live_run.run_id)
    warning = page.locator("#notices [data-told=warning]")
    expect(warning).to_contain_text("The disk was slow.")
    expect(warning.locator("time")).to_contain_text(re.compile("ago|now"))
    warning.get_by_label("Put away").click()
    expect(warning).to_be_hidden()
    live_run.train(5)
    expect(page.locator("[data-steps]")).to_contain_text("step 10 of")
    page.reload()
    expect(page.locator("[data-steps]")).to_contain_text("step 10 of")
    expect(warning).to_be_hidden()


def test_a_run_that_ends_while_nobody_looks_is_notified(visit: Visit, live_run: LiveRun) -> None:
    page = visit.page
    page.add_init_script(
        """
        window.told = [];
        window.Notification = class extends EventTarget {
            static permission = "default";
            static async requestPermission() { return this.permission = "granted"; }
            constructor(title, { body }) { super(); window.told.push(`${title}: ${body}`); }
        };
        Object.defineProperty(document, "hidden", { get: () => Boolean(window.away) });
        """
    )
    live_run.train(5)
    open_run(page, live_run.run_id)
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Notify me when it ends").click()
    page.evaluate("() => { window.away = true; }")
    error = ErrorRecord(kind="data", message="The text is empty.", hint="")
    live_run.end(status="failed", error=error)
    expect(page).to_have_title("✗ live · llm-trainer")
    assert page.evaluate("() => window.told") == ["✗ live failed: The text is empty."]
