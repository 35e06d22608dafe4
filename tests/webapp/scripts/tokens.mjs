// Tokens, by the cases that Python is held to as well; and what the playground makes of its settings.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { link, modelsOf, MOST_LINK_CHARACTERS } from "./js/link.js";
import { bestValue, isShared } from "./js/scorefigures.js";
import { stopTexts, typedStop } from "./js/settings.js";
import { blocks, Cells, figure, inked, level, logprobOf, visible } from "./js/tokens.js";

const cases = JSON.parse(readFileSync(join(dirname(process.argv[2]), "token_cases.json"), "utf8"));

test("how likely a token was", () => {
  for (const [logprob, words, strength] of cases.figures) {
    assert.equal(figure(logprob), words);
    assert.equal(level(logprob), strength, words);
  }
});

test("the best of what several models measured", () => {
  for (const { measured, best } of cases.bests) {
    assert.equal(bestValue(measured.map(([amount, value, parts]) => ({ amount, value, parts }))), best);
  }
  const length = { amount: null, value: "2 tokens" };
  assert.ok(isShared([length, { ...length }]));
  assert.ok(!isShared([length, { ...length, value: "3 tokens" }]));
  assert.ok(!isShared([{ amount: 1, value: "1" }, { amount: 1, value: "1" }]));
});

test("each character of a token is seen", () => {
  for (const [bytes, words] of cases.visible) assert.equal(visible({ bytes }), words);
  assert.equal(visible({ bytes: [] }), "end of text");
});

for (const { why, tokens, cells } of cases.cells) {
  test(why, () => {
    const cutter = new Cells();
    const told = tokens.map(([bytes, logprob]) => ({ bytes, logprob }));
    // They come one by one.
    const made = told.flatMap((token) => cutter.add([token]));
    made.push(...cutter.end());
    assert.deepEqual(made.map((cell) => [cell.text, logprobOf(cell)]), cells);
  });
}

test("the space before a word is not tinted", () => {
  for (const [text, lead, ink, sign] of cases.inked) assert.deepEqual(inked(text), { lead, ink, sign });
});

test("a long text is laid out in blocks that end where a line does", () => {
  const made = (text) => blocks([...text].map((one) => ({ text: one })), 3).map((cells) => cells.map((one) => one.text).join(""));
  assert.deepEqual(made("abcdefgh"), ["abcdefgh"]);
  assert.deepEqual(made("a\nbcd\nef"), ["a\nbcd\n", "ef"]);
  assert.deepEqual(made(""), []);
});

test("stop texts are typed one a line, and typed back", () => {
  assert.deepEqual(stopTexts("\\n\\n\n\nThe end\\\\n\n tab\\t"), ["\n\n", "The end\\n", " tab\t"]);
  for (const text of ["\n\n", "a\\n", "\t\\"]) assert.deepEqual(stopTexts(typedStop(text)), [text]);
});

const usual = { temperature: "0.8", seed: "", stop: "" };

test("a link carries the prompt, the models and what is not as usual", () => {
  const settings = { temperature: "0.8", seed: "7", stop: "\\n" };
  const address = link({ path: "/playground", prompt: "Once & again", models: ["a latest", "b best"], settings, usual });
  assert.equal(address, "/playground?run=a&checkpoint=latest&run=b&checkpoint=best&prompt=Once+%26+again&seed=7&stop=%5Cn");
  assert.deepEqual(modelsOf(address.slice(address.indexOf("?"))), ["a latest", "b best"]);
  assert.deepEqual(modelsOf("?run=a"), ["a latest"]);
});

test("a prompt that is too long makes no link", () => {
  const long = { path: "/playground", prompt: "é".repeat(MOST_LINK_CHARACTERS / 6), models: [], settings: usual, usual };
  assert.equal(link(long), null);
  assert.equal(link({ ...long, prompt: null }), "/playground?");
});
