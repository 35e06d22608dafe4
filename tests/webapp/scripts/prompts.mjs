// How long prompts are shown: the same rule as webapp/presenting.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clipped, goneWords, promptEnd, writtenWith } from "./js/prompts.js";

test("a long prompt is shown by its end", () => {
  assert.equal(clipped(`${"x".repeat(8000)}end`, 3), "… 8,000 characters before end");
  assert.equal(clipped("end", 3), "end");
});

test("the end of a prompt begins with a whole word", () => {
  assert.equal(promptEnd("Once upon a time", 8), "… a time");
  assert.equal(promptEnd("Once upon a time", 6), "… time");
  assert.equal(promptEnd("Once"), "Once");
});

test("what a text was written with", () => {
  assert.equal(writtenWith({ settings: { temperature: 0 }, seed: 7 }, "KL · best"), "KL · best · temperature 0 · seed 7");
  assert.equal(writtenWith({}, ""), "");
});

test("a checkpoint that is gone is told with those that are left", () => {
  const words = goneWords("KL · epoch-3 · loss 2.8 · gone", ["KL · latest", "KL · best · loss 3", "KL · epoch-4"]);
  assert.deepEqual(words, { message: "epoch-3 of KL is no longer there.", hint: "Choose another checkpoint above: latest, best or epoch-4." });
  assert.equal(goneWords("KL · best", []).hint, "Choose another model above.");
});
