"""The playground against a server whose every word is set: streaming, stopping, several models."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.standin import LIKELY, Writer, entry, wait_for
from tests.conftest import MakeRun
from trainer.inference.telling import Figure
from trainer.runs import RunStore


@pytest.fixture
def writer(visit: Visit, make_run: MakeRun) -> Writer:
    """The playground, open on a run with checkpoints at three steps."""
    run = make_run(name="poet")
    run.paths.checkpoints.mkdir(parents=True)
    for name, step in (("latest", 30), ("epoch-3", 30), ("epoch-2", 20), ("epoch-1", 10)):
        run.paths.checkpoint(name).write_bytes(b"weights")
        facts = {"step": step, "epoch": step // 10}
        (run.paths.checkpoints / f"{name}.pt.json").write_text(json.dumps(facts))
    made = Writer(visit.page)
    visit.page.goto(f"/playground?run={run.run_id}")
    expect(visit.page.locator("#connection")).to_have_attribute("data-state", "live")
    return made


def wait_for_requests(page: Page, writer: Writer, count: int) -> None:
    wait_for(page, writer.asked, count)


def test_text_streams_and_can_be_had_again(visit: Visit, writer: Writer) -> None:
    page = visit.page
    text, report = page.locator("[data-text]"), page.locator("[data-report]")
    page.get_by_role("textbox", name="Prompt").fill("Once")
    page.get_by_role("textbox", name="Top-p").fill("1")
    page.keyboard.press("Control+Enter")
    wait_for_requests(page, writer, 1)
    asked = writer.asked[0]
    assert (asked["prompt"], asked["checkpoint"], asked["top_k"]) == ("Once", "latest", None)
    assert (asked["top_p"], asked["min_p"], asked["seed"]) == (None, None, None)
    writer.say("token", 0, row=0, text=" upon", tokens=1)
    expect(text).to_have_text("Once upon")
    expect(page.get_by_role("button", name="Write")).to_be_hidden()
    writer.finish(0, " upon a")
    expect(text).to_have_text("Once upon a")
    expect(report).to_have_text("2 tokens · 12 tok/s · seed 7 · reached the length")
    page.get_by_role("button", name="Continue").click()
    wait_for_requests(page, writer, 2)
    assert writer.asked[1]["prompt"] == "Once upon a"
    writer.finish(1, " time")
    expect(text).to_have_text("Once upon a time")
    page.get_by_role("button", name="Again").click()
    wait_for_requests(page, writer, 3)
    same = {"id": "", "seed": 7}
    assert writer.asked[2] | {"id": ""} == writer.asked[1] | same
    expect(text).to_have_text("Once upon a")
    writer.finish(2, " time")
    page.get_by_role("button", name="Regenerate").click()
    wait_for_requests(page, writer, 4)
    assert (writer.asked[3]["prompt"], writer.asked[3]["seed"]) == ("Once upon a", None)


def test_what_was_written_is_kept_and_can_be_forgotten(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("textbox", name="Top-p").fill("1")
    page.get_by_role("textbox", name="Stop texts").fill("\\n\nthe end")
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    assert writer.asked[0]["stop"] == ["\n", "the end"]
    writer.finish(0, " Rome", "met a stop text")
    entries = page.locator("[data-history] li")
    expect(entries).to_have_count(1)
    page.goto("/playground")
    page.get_by_role("button", name="Bring back").click()
    expect(page.locator("[data-text]")).to_have_text("The history of Rome")
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("7")
    expect(page.get_by_role("textbox", name="Top-p")).to_have_value("1")
    expect(page.get_by_role("textbox", name="Stop texts")).to_have_value("\\n\nthe end")
    page.get_by_role("button", name="Delete: The history of").click()
    expect(page.get_by_text("1 text forgotten.")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(entries).to_have_count(1)
    # A storage that refuses keeps nothing more, and nothing else breaks.
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException(); }; }")
    page.get_by_role("button", name="Again").click()
    wait_for_requests(page, writer, 2)
    writer.finish(1, " Rome", "met a stop text")
    expect(page.locator("[data-report]")).to_contain_text("met a stop text")
    expect(entries).to_have_count(1)


def test_a_token_shows_what_else_could_have_come(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("textbox", name="Prompt").fill("Once")
    page.keyboard.press("Control+Enter")
    wait_for_requests(page, writer, 1)
    writer.say("token", 0, row=0, text=" upon a hill", tokens=3, logprobs=LIKELY)
    writer.finish(0, " upon a hill")
    tokens = page.locator("[data-text] .token")
    expect(tokens).to_have_text([" upon", " a", " hill"])
    levels = tokens.evaluate_all("all => all.map((one) => one.dataset.level ?? '0')")
    assert levels == ["0", "0", "4"]
    panel = page.locator("#alternatives")
    tokens.nth(1).click()
    expect(panel).to_have_accessible_name("·a")
    expect(panel.locator(".alternative")).to_have_text(["·the61 %", "·a30 %", "end of text0.25 %"])
    expect(panel).to_contain_text("30 % · 1.7 bits")
    page.keyboard.press("ArrowRight")
    expect(panel).to_have_accessible_name("·hill")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    expect(tokens.nth(2)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(tokens.nth(1)).to_have_accessible_name("·a: 30 % · 1.7 bits")
    page.keyboard.press("Enter")
    # What stands there, and the end of the text, cannot be gone on from.
    expect(panel.locator(".alternative:disabled")).to_have_text(["·a30 %", "end of text0.25 %"])
    page.keyboard.press("ArrowDown")
    expect(panel.locator(".alternative").first).to_be_focused()
    page.keyboard.press("Enter")
    wait_for_requests(page, writer, 2)
    assert writer.asked[1]["prompt"] == "Once upon the"
    writer.finish(1, " sea")
    expect(page.locator("[data-text]")).to_have_text("Once upon the sea")
    expect(page.locator("[data-chosen]")).to_have_text(" the")
    page.get_by_text("Tint by surprise").click()
    expect(page.locator("#lanes[data-tinted]")).to_have_count(0)


def test_what_is_held_back_or_makes_no_character_yet_is_not_shown(
    visit: Visit, writer: Writer
) -> None:
    page, text = visit.page, visit.page.locator("[data-text]")
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    parts = "€".encode()
    euro = [{"token": "\ufffd", "id": b, "bytes": [b], "logprob": -2.0, "top": []} for b in parts]
    first, second = entry(" E", -1.0), entry("ND", -1.0)
    writer.say("token", 0, row=0, text="", tokens=2, logprobs=euro[:2])
    writer.say("token", 0, row=0, text="€", tokens=4, logprobs=[euro[2], first])
    expect(text).to_have_text("The history of€")
    expect(text.locator(".token")).to_have_attribute("data-level", "2")
    writer.say("token", 0, row=0, text="", tokens=5, logprobs=[second])
    writer.finish(0, "€ ", "met a stop text")
    expect(page.locator("[data-report]")).to_contain_text("met a stop text")
    assert text.text_content() == "The history of€ "


def test_a_link_carries_all_and_writes_nothing_by_itself(visit: Visit, writer: Writer) -> None:
    page = visit.page
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("Once & again")
    page.get_by_role("textbox", name="Temperature").fill("0.3")
    page.get_by_role("button", name="Side by side").click()
    expect(page).to_have_url(re.compile(r"epoch-1&prompt=Once\+%26\+again&temperature=0.3$"))
    page.reload()
    expect(prompt).to_have_value("Once & again")
    expect(page.get_by_role("textbox", name="Temperature")).to_have_value("0.3")
    expect(page.locator("[data-model]").nth(1)).to_have_value(re.compile(" epoch-1$"))
    prompt.fill("x" * 4_000)
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_text("The prompt is too long for a link")).to_be_visible()
    assert writer.asked == []


def test_the_model_is_got_ready_and_a_new_checkpoint_can_be_chosen(
    visit: Visit, writer: Writer, store: RunStore
) -> None:
    page, model = visit.page, visit.page.locator("[data-model]")
    wait_for(page, writer.warmed, 1)
    assert writer.warmed[0]["checkpoint"] == "latest"
    expect(page.locator("[data-warmth]")).to_have_text("Getting the model ready …")
    writer.emit("done", id=writer.warmed[0]["id"], parameters=1, device="cpu", seconds=0.1)
    expect(page.locator("[data-warmth]")).to_have_text("")
    run_id, _ = model.input_value().split(" ")
    model.select_option(f"{run_id} epoch-1")
    wait_for(page, writer.warmed, 2)
    folder = store.get(run_id).paths.checkpoints
    (folder / "epoch-4.pt").write_bytes(b"weights")
    (folder / "epoch-4.pt.json").write_text(json.dumps({"step": 40, "epoch": 4}))
    (folder / "epoch-1.pt.json").unlink()
    writer.emit("runs", runs=[], removed=[])
    newest = model.locator(f"option[value='{run_id} epoch-4']")
    expect(newest).to_have_text("poet · epoch-4")
    # What was chosen stays, and says that it is gone.
    expect(model).to_have_value(f"{run_id} epoch-1")
    expect(model.locator("option:checked")).to_have_text("poet · epoch-1 · gone")


def test_a_text_is_scored_token_by_token(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.goto("/playground/score")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    page.get_by_role("button", name="Score").click()
    expect(page.locator("#text-error")).to_have_text("Paste a text, or write one.")
    text = page.get_by_role("textbox", name="Text")
    expect(text).to_be_focused()
    text.fill(" upon a hill")
    page.keyboard.press("Control+Enter")
    wait_for(page, writer.scored, 1)
    asked = writer.scored[0]
    assert (asked["text"], asked["alternatives"]) == (" upon a hill", 5)
    writer.emit("progress", id=asked["id"], done=2, total=3, unit="tokens")
    expect(page.locator("[data-report]")).to_have_text("Scoring … 2 of 3 tokens")
    figures = [asdict(Figure("perplexity", "Perplexity", "31.00", "how it wavered", 31.0, 3))]
    writer.emit("done", id=asked["id"], tokens=LIKELY, figures=figures)
    expect(page.locator("[data-figures] .figure")).to_have_text("Perplexity31.00how it wavered")
    expect(page.locator("[data-report]")).to_have_text("Scored: perplexity 31.00.")
    page.locator("[data-text]").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    panel = page.locator("#alternatives")
    expect(panel.locator(".alternative")).to_have_text(["·upon90 %", "·in5.0 %"])


def test_stop_keeps_what_came(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    writer.say("token", 0, row=0, text=" the", tokens=1)
    expect(page.locator("[data-text]")).to_contain_text("the")
    stop = page.get_by_role("button", name="Stop", exact=True)
    expect(stop).to_be_focused()
    stop.click()
    expect(stop).to_be_visible()
    writer.finish(0, " the", "stopped")
    expect(page.locator("[data-report]")).to_contain_text("stopped")
    expect(page.locator("[data-text]")).to_have_text("The history of the")
    expect(page.get_by_role("button", name="Write")).to_be_focused()
    assert writer.cancelled[-1] == writer.asked[0]["id"]


def test_what_came_before_a_failure_is_kept_and_an_empty_text_is_not(
    visit: Visit, writer: Writer
) -> None:
    page = visit.page
    report, entries = page.locator("[data-report]"), page.locator("[data-history] li")
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    expect(report).to_have_text("Getting the model ready …")
    writer.say("token", 0, row=0, text=" the", tokens=1)
    expect(report).to_contain_text("Writing …")
    error = {"kind": "internal", "message": "The model service ended.", "hint": "Try again."}
    writer.say("failed", 0, error=error, seed=7, report="1 token · seed 7 · broken off")
    expect(page.locator("[data-failure]")).to_contain_text("The model service ended. Try again.")
    expect(report).to_have_text("1 token · seed 7 · broken off")
    expect(page.locator("[data-text]")).to_have_text("The history of the")
    expect(entries).to_have_count(1)
    expect(entries).to_contain_text("seed 7")
    page.get_by_role("button", name="Again", exact=True).click()
    wait_for_requests(page, writer, 2)
    expect(report).to_have_text("Writing …")
    assert writer.asked[1]["seed"] == 7
    writer.finish(1, "", "end of text")
    expect(report).to_contain_text("The model ended the text at once.")
    expect(entries).to_have_count(1)


def test_two_checkpoints_write_side_by_side(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("button", name="Side by side").click()
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 2)
    assert [asked["checkpoint"] for asked in writer.asked] == ["latest", "epoch-1"]
    assert writer.asked[0]["seed"] == writer.asked[1]["seed"] >= 0
    writer.finish(1, " two", "reached the length")
    error = {"kind": "checkpoint", "message": "It is damaged.", "hint": "Choose another."}
    writer.say("failed", 0, error=error)
    expect(page.locator("[data-lane]").nth(1)).to_contain_text("The history of two")
    expect(page.locator("[data-lane]").nth(0)).to_contain_text("It is damaged. Choose another.")
    expect(page.locator("[data-again]").first).to_be_hidden()
    expect(page.get_by_role("button", name="Try again")).to_have_count(1)
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    page.get_by_label("Remove this model").first.click()
    expect(page.locator("[data-lane]")).to_have_count(1)


def test_wrong_settings_are_refused_at_their_fields(visit: Visit, writer: Writer) -> None:
    page = visit.page
    wrong = {"Length": "99999", "Top-p": "5", "Seed": "abc", "Temperature": "-1"}
    for name, text in wrong.items():
        page.get_by_role("textbox", name=name).fill(text)
    page.get_by_role("button", name="Write").click()
    expect(page.locator(".field-error:visible")).to_have_text(
        [
            "Give a whole number from 1 to 1,000.",
            "Give a number of 0 or more.",
            "Give a whole number of 0 or more, or leave it empty.",
            "Give a number above 0, up to 1.",
        ]
    )
    expect(page.get_by_role("textbox", name="Length")).to_be_focused()
    visit.shot("playground-refused")
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".field-error:visible")).to_have_count(0)
    assert writer.asked == []


def test_the_seed_of_the_settings_counts_and_a_long_prompt_is_clipped(
    visit: Visit, writer: Writer
) -> None:
    page = visit.page
    prompt = page.get_by_role("textbox", name="Prompt")
    prompt.fill("x" * 9_200)
    page.get_by_role("textbox", name="Seed").fill("11")
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    assert (len(writer.asked[0]["prompt"]), writer.asked[0]["seed"]) == (9_200, 11)
    writer.finish(0, " end")
    expect(page.locator("[data-text]")).to_contain_text("… 8,000 characters before xxx")
    expect(page.locator("[data-history]")).to_contain_text("… xxx")
    prompt.fill("x" * 250_000)
    page.get_by_role("button", name="Write").click()
    expect(page.locator("#prompt-error")).to_contain_text("245 KiB of at most 240")
    expect(prompt).to_be_focused()
    assert len(writer.asked) == 1


def test_a_page_from_another_machine_copies_too(visit: Visit, writer: Writer) -> None:
    """Browsers give neither the clipboard nor random ids to plain HTTP from elsewhere."""
    page = visit.page
    page.evaluate(
        """() => {
            Object.defineProperty(navigator, "clipboard", { value: undefined });
            crypto.randomUUID = undefined;
            document.execCommand = () => { window.copied = document.activeElement.value; };
        }"""
    )
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    writer.finish(0, " it all", "reached the length")
    page.get_by_role("button", name="Copy", exact=True).click()
    assert page.evaluate("window.copied") == "The history of it all"
