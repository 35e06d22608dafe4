// How long prompts are shown: the same rule as webapp/presenting.py.
import assert from "node:assert/strict";
import { test } from "node:test";
import { clipped } from "./js/prompts.js";

test("a long prompt is shown by its end", () => {
  assert.equal(clipped(`${"x".repeat(8000)}end`, 3), "… 8,000 characters before end");
  assert.equal(clipped("end", 3), "end");
});
