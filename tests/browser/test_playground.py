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
    """The playground, open on a run with two checkpoints."""
    run = make_run(name="poet")
    run.paths.checkpoints.mkdir(parents=True)
    for name in ("latest", "epoch-1"):
        run.paths.checkpoint(name).write_bytes(b"weights")
        (run.paths.checkpoints / f"{name}.pt.json").write_text('{"step": 10, "epoch": 1}')
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
    page.get_by_role("button", name="Take up").click()
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
    writer.finish(1, " two", "length")
    error = {"kind": "checkpoint", "message": "It is damaged.", "hint": "Choose another."}
    writer.say("failed", 0, error=error)
    expect(page.locator("[data-lane]").nth(1)).to_contain_text("The history of two")
    expect(page.locator("[data-lane]").nth(0)).to_contain_text("It is damaged. Choose another.")
    expect(page.get_by_role("button", name="Write")).to_be_visible()
    page.get_by_label("Remove this model").first.click()
    expect(page.locator("[data-lane]")).to_have_count(1)
