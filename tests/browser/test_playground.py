"""The playground against a server whose every word is set: streaming, stopping, several models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Visit
from tests.conftest import MakeRun

OPENED = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":100000}'


class Writer:
    """Stands where the live connection's server is, and says what a test tells it to."""

    def __init__(self, page: Page) -> None:
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        page.route_web_socket("**/socket.io/**", self._open)

    def _open(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self._take)
        socket.send(OPENED)

    def _take(self, message: str | bytes) -> None:
        text = str(message)
        if text.startswith("40"):
            self._socket.send('40{"sid":"b"}')
        elif text.startswith("42"):
            event, payload = json.loads(text[2:])
            if event == "generate":
                self.asked.append(payload)
            elif event == "cancel":
                self.cancelled.append(payload["id"])

    def say(self, event: str, index: int, **facts: Any) -> None:
        payload = {"id": self.asked[index]["id"], **facts}
        self._socket.send("42" + json.dumps([event, payload]))

    def finish(self, index: int, text: str, reason: str) -> None:
        facts = {"tokens": 2, "tokens_per_second": 12.34, "seed": 7}
        self.say("done", index, text=text, finish_reason=reason, **facts)


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
    for _ in range(200):
        if len(writer.asked) == count:
            return
        page.evaluate("() => new Promise(requestAnimationFrame)")
    raise AssertionError(f"{len(writer.asked)} texts were asked for, not {count}")


def test_text_streams_and_can_be_had_again(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("textbox", name="Prompt").fill("Once")
    page.get_by_role("textbox", name="Top-p").fill("1")
    page.keyboard.press("Control+Enter")
    wait_for_requests(page, writer, 1)
    asked = writer.asked[0]
    assert (asked["prompt"], asked["checkpoint"], asked["top_k"]) == ("Once", "latest", 50)
    assert (asked["top_p"], asked["min_p"], asked["seed"]) == (None, None, None)
    writer.say("token", 0, text=" upon", tokens=1)
    expect(page.locator("[data-text]")).to_have_text("Once upon")
    expect(page.get_by_role("button", name="Write")).to_be_hidden()
    writer.finish(0, " upon a", "length")
    expect(page.locator("[data-text]")).to_have_text("Once upon a")
    expect(page.locator("[data-report]")).to_have_text(
        "2 tokens · 12 tok/s · seed 7 · reached the length"
    )
    page.get_by_role("button", name="Continue").click()
    wait_for_requests(page, writer, 2)
    assert writer.asked[1]["prompt"] == "Once upon a"
    page.reload()
    expect(page.locator("[data-history] li")).to_contain_text("Once upon a")
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_role("textbox", name="Seed")).to_have_value("7")
    expect(page.get_by_role("textbox", name="Top-p")).to_have_value("1")


def test_stop_keeps_what_came(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    writer.say("token", 0, text=" the", tokens=1)
    expect(page.locator("[data-text]")).to_contain_text("the")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    writer.finish(0, " the", "cancelled")
    expect(page.locator("[data-report]")).to_contain_text("stopped")
    expect(page.locator("[data-text]")).to_have_text("The history of the")
    assert writer.cancelled == [writer.asked[0]["id"]]


def test_two_checkpoints_write_side_by_side(visit: Visit, writer: Writer) -> None:
    page = visit.page
    page.get_by_role("button", name="Side by side").click()
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 2)
    assert [asked["checkpoint"] for asked in writer.asked] == ["latest", "epoch-1"]
    assert writer.asked[0]["seed"] == writer.asked[1]["seed"] >= 0
    writer.finish(1, " two", "length")
    error = {"kind": "checkpoint", "message": "It is damaged.", "hint": "Choose another."}
    writer.say("failed", 0, error=error)
    expect(page.locator("[data-lane]").nth(1)).to_contain_text("The history of two")
    expect(page.locator("[data-lane]").nth(0)).to_contain_text("It is damaged. Choose another.")
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
            "Give a number above 0, up to 1.",
            "Give a whole number of 0 or more, or leave it empty.",
        ]
    )
    expect(page.get_by_role("textbox", name="Length")).to_be_focused()
    visit.shot("playground-refused")
    page.get_by_role("button", name="Usual settings").click()
    expect(page.locator(".field-error:visible")).to_have_count(0)
    assert writer.asked == []


def test_the_seed_of_the_settings_counts_again_and_a_long_prompt_is_clipped(
    visit: Visit, writer: Writer
) -> None:
    page = visit.page
    page.get_by_role("textbox", name="Prompt").fill("x" * 9_200)
    page.get_by_role("textbox", name="Seed").fill("11")
    page.get_by_role("button", name="Write").click()
    wait_for_requests(page, writer, 1)
    assert len(writer.asked[0]["prompt"]) == 9_200
    writer.finish(0, " end", "length")
    expect(page.locator("[data-text]")).to_contain_text("… 8,000 characters before xxx")
    expect(page.locator("[data-history]")).to_contain_text("… 8,980 characters before xxx")
    page.get_by_role("button", name="Again").click()
    wait_for_requests(page, writer, 2)
    assert [asked["seed"] for asked in writer.asked] == [11, 11]


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
    writer.finish(0, " it all", "length")
    page.get_by_role("button", name="Copy").click()
    assert page.evaluate("window.copied") == "The history of it all"
