"""The whole way in a browser: from the form to the trash and back, with a real training."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, loss_picture, wait_for_another_picture
from tests.conftest import MakeRun
from tests.texts import write_text
from trainer.runs import RunStore

PATIENCE_MS = 60_000
SETTINGS = {
    "data.vocab_size": "300",
    "model.layers": "1",
    "model.width": "32",
    "model.heads": "2",
    "training.seq_length": "32",
    "training.batch_size": "4",
    "training.epochs": "1",
    "training.compile": "off",
    "training.precision": "off",
    "evaluation.every_steps": "20",
    "evaluation.prompts": "The",
    "evaluation.sample_tokens": "40",
    "device.preference": "cpu",
}
ORDER = ["Queued", "Preparing", "Running", "Stopping", "Stopped"]

OPEN_ALL = "() => { for (const one of document.querySelectorAll('details')) one.open = true; }"

NOTE_STATUSES = """
window.statuses = [];
const note = () => {
  const words = document.querySelector(".run-title [data-status-word]")?.textContent;
  if (words && window.statuses.at(-1) !== words) window.statuses.push(words);
};
const changes = { subtree: true, childList: true, characterData: true };
new MutationObserver(note).observe(document, changes);
"""


def fill(page: Page, key: str, value: str) -> None:
    """Set one setting of the form, whatever its control is."""
    field = page.locator(f"#new-run [name='{key}']:not([type=hidden])")
    if field.first.get_attribute("type") == "radio":
        page.locator(f"#new-run [name='{key}'][value='{value}']").check(force=True)
    elif field.evaluate("node => node.localName") == "select":
        field.select_option(value)
    else:
        field.fill(value)


def start(page: Page, text: Path) -> str:
    """Start a run with the form and return its id."""
    page.goto("/runs/new")
    page.evaluate(OPEN_ALL)
    for key, value in {"data.dataset_name": str(text), **SETTINGS}.items():
        fill(page, key, value)
    page.locator("#name").fill("from the form")
    page.wait_for_load_state("networkidle")  # The preview of what was filled in last.
    page.get_by_role("button", name="Start the run").click()
    expect(page).to_have_url(re.compile(r"/runs/[\d-]+$"), timeout=PATIENCE_MS)
    return page.url.rpartition("/")[2]


def wait_past(page: Page, step: int) -> None:
    page.wait_for_function(
        "step => window.dashboard?.history.lastStep() > step", arg=step, timeout=PATIENCE_MS
    )


def status_of(page: Page, words: str) -> None:
    expect(page.locator(".run-title .status")).to_have_text(words, timeout=PATIENCE_MS)


def test_a_training_from_the_form_to_the_trash_and_back(
    visit: Visit, store: RunStore, make_run: MakeRun, tmp_path: Path
) -> None:
    page = visit.page
    page.add_init_script(NOTE_STATUSES)
    run_id = start(page, write_text(tmp_path / "text.txt", 120_000))
    wait_past(page, 1)
    before = loss_picture(page)
    wait_past(page, 20)
    wait_for_another_picture(page, before)
    expect(page.locator("[data-moment-texts]")).to_contain_text("The", timeout=PATIENCE_MS)
    expect(page.locator("[data-log]")).to_contain_text("loss", timeout=PATIENCE_MS)
    visit.shot("training")

    page.get_by_role("button", name="Stop").click()
    status_of(page, "Stopped")
    stopped_at = store.get(run_id).state.step
    assert stopped_at is not None
    statuses: list[str] = page.evaluate("() => window.statuses")
    assert statuses == [word for word in ORDER if word in statuses]
    visit.shot("training stopped")

    page.get_by_role("link", name="Resume", exact=True).click()
    page.locator("#more").fill("1")
    expect(page.locator("#sentence")).to_contain_text(f"{stopped_at:,}")
    page.get_by_role("button", name="Resume").click()
    wait_past(page, stopped_at)
    status_of(page, "Completed")
    steps: list[int] = page.evaluate("() => window.dashboard.history.columns('train_loss').step")
    assert steps == list(range(1, steps[-1] + 1)), "the curve has a gap or doubles back"
    assert store.get(run_id).state.epochs == 2
    visit.shot("training completed")

    write(page)
    visit.shot("playground")
    compare(page, run_id, make_run(name="another", points=30).run_id)
    delete_and_undo(page, run_id)


def write(page: Page) -> None:
    page.get_by_role("link", name="Generate", exact=True).click()
    expect(page.locator("body")).to_have_attribute("data-connection", "live")
    page.get_by_role("textbox", name="Prompt").fill("The")
    page.get_by_role("textbox", name="Length").fill("20")
    page.get_by_role("button", name="Write").click()
    expect(page.locator("[data-report]")).to_have_text(
        re.compile(r"^\d+ tokens · .*tok/s · seed \d+ · reached the length$"), timeout=PATIENCE_MS
    )
    expect(page.locator(".written-prompt")).to_have_text("The")
    write_again(page)


def write_again(page: Page) -> None:
    """The seed brings the same text back; a press on a token shows what the model weighed."""
    tokens, lane = page.locator("[data-text] .token"), page.locator("[data-lane]")
    first = tokens.all_text_contents()
    page.get_by_role("button", name="Again").click()
    expect(lane).to_have_attribute("data-state", "done", timeout=PATIENCE_MS)
    assert tokens.all_text_contents() == first
    tokens.first.click()
    expect(page.locator(".alternative")).not_to_have_count(0)
    page.keyboard.press("Escape")


def compare(page: Page, *run_ids: str) -> None:
    page.goto("/")
    for run_id in run_ids:
        page.locator(f"tr[data-run='{run_id}'] input[name=run]").check()
    page.locator("#bulk").get_by_role("button", name="Compare").click()
    expect(page.locator("h1")).to_contain_text("2 runs")
    expect(page.locator(".compare-table").first).to_contain_text("from the form")


def delete_and_undo(page: Page, run_id: str) -> None:
    page.goto(f"/runs/{run_id}")
    page.get_by_label("More actions").click()
    page.get_by_role("link", name="Delete …").click()
    page.get_by_role("button", name="Delete the run").click()
    expect(page.locator("#messages")).to_contain_text("“from the form” was deleted")
    expect(page.locator("#announcer")).to_contain_text("was deleted")
    expect(page.locator(f"tr[data-run='{run_id}']")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    page.goto(f"/runs/{run_id}")
    status_of(page, "Completed")
    wait_past(page, 20)
