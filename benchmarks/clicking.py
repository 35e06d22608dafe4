"""The playground as people have it: in Chromium, from the click to the paint."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from playwright.sync_api import Page as BrowserPage

from benchmarks import browsing
from benchmarks.callers import PROMPT, SETTINGS, SHOWN, Bare, Written, seeds_of_long_texts
from benchmarks.measuring import Figure, ratios
from benchmarks.options import Options
from benchmarks.workplace import Workplace

ROUNDS, LONG_ROUNDS = 11, 5
LONG_TIMES = 5
"""So many times longer than the others are the texts that show what drawing a long one costs."""

_CLICK = """new Promise((tell, fail) => {
  const lane = document.querySelector("[data-lane]");
  const text = lane.querySelector("[data-text]");
  let clicked, first;
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const look = async () => {
    if (!text.querySelector(".token")) return;
    first ??= frame().then(() => performance.now() - clicked);
    if (lane.dataset.state !== "done") return;
    watch.disconnect();
    const toFirst = await first;
    await frame();
    const report = lane.querySelector("[data-report]").textContent;
    tell([report, toFirst / 1000, (performance.now() - clicked) / 1000]);
  };
  const watch = new MutationObserver(look);
  document.querySelector("[data-write]").addEventListener("click", () => {
    clicked = performance.now();
    // What was written before is taken away first.
    setTimeout(() => watch.observe(lane, { subtree: true, childList: true, attributes: true }));
  }, { once: true, capture: true });
  setTimeout(() => fail(new Error(lane.textContent)), 60000);
  document.querySelector("[data-write]").click();
})"""
"""Clicks on Write; tells the report, and when the first token and the end were painted."""


@dataclass(frozen=True)
class Clicks:
    """The page of the playground, in a browser, and someone who clicks on Write."""

    page: BrowserPage

    def write(self, tokens: int, seed: int) -> Written:
        """Click, and wait until the whole text is there."""
        typed = {"prompt": PROMPT, "max_new_tokens": tokens, "seed": seed, **SETTINGS}
        self.page.evaluate("document.querySelector('[data-all-settings]').open = true")
        for name, value in typed.items():
            self.page.fill(f"#{name}", str(value))
        report, first, whole = self.page.evaluate(_CLICK)
        return Written(tokens_reported(report), whole, first)


def tokens_reported(report: str) -> int:
    """Return how many tokens a text has, as the page tells below it.

    Raises:
        RuntimeError: it tells something else, such as why there is no text.
    """
    found = re.match(r"([0-9,]+) tokens?\b", report)
    if found is None:
        raise RuntimeError(f"the page tells: {report}")
    return int(found[1].replace(",", ""))


def figures(
    options: Options, place: Workplace, generator: Bare, tokens: int, seeds: Sequence[int]
) -> Iterator[Figure]:
    """Click by turns with the bare generator that tells what the page shows."""
    writing = replace(generator, more=SHOWN)
    with browsing.chromium() as browser, browsing.visit(browser) as page:
        page.goto(f"{place.server.url}/playground")
        clicks = Clicks(page)
        clicks.write(tokens, seeds[0])
        texts, bare = _by_turns(clicks, writing, tokens, seeds[: options.rounds(ROUNDS)])
        waits = [1000 * text.first_seconds for text in texts]
        what = "a click in Chromium, to the painted first token"
        yield Figure.of(what, waits, "ms", asked="≤ 100")
        yield from _rates(tokens, texts, bare)
        length = LONG_TIMES * tokens
        long_seeds = seeds_of_long_texts(generator, length, options.rounds(LONG_ROUNDS))
        yield from _rates(length, *_by_turns(clicks, writing, length, long_seeds))


def _by_turns(
    clicks: Clicks, writing: Bare, tokens: int, seeds: Sequence[int]
) -> tuple[list[Written], list[Written]]:
    texts, bare = [], []
    for seed in seeds:
        browsing.settle(clicks.page)
        texts.append(clicks.write(tokens, seed))
        bare.append(writing.write(tokens, seed))
    return texts, bare


def _rates(tokens: int, texts: Sequence[Written], bare: Sequence[Written]) -> Iterator[Figure]:
    what = f"{tokens:,} tokens in Chromium, from the click to the painted end"
    rates = [text.tokens_per_second for text in texts]
    yield Figure.of(what, rates, "tok/s")
    shares = [100 * one for one in ratios(rates, [text.tokens_per_second for text in bare])]
    yield Figure.of("the same, of the bare generator", shares, "%", asked="≥ 90")
