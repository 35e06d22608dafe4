// What a search of the log marks in the lines it found.
import assert from "node:assert/strict";
import { test } from "node:test";
import { levelOf, parts, stampOf } from "./js/log.js";

test("what was sought is marked wherever it stands, in any case", () => {
  assert.deepEqual(parts("Loss 3.1, loss 2.9", "LOSS"), [["Loss", true], [" 3.1, ", false], ["loss", true], [" 2.9", false]]);
  assert.deepEqual(parts("at its end", "end"), [["at its ", false], ["end", true]]);
});

test("a line without it, or one found by its level alone, stays whole", () => {
  assert.deepEqual(parts("step 7", "loss"), [["step 7", false]]);
  assert.deepEqual(parts("step 7", ""), [["step 7", false]]);
});

test("letters that change their length with their case mark nothing in the wrong place", () => {
  assert.deepEqual(parts("İ loss", "loss"), [["İ loss", false]]);
});

test("a moment is shown short unless it is what was sought", () => {
  const line = "2026-01-02T03:04:05.678Z INFO step 7";
  assert.equal(stampOf(line), "2026-01-02T03:04:05.678Z");
  assert.equal(stampOf(line, "step"), "2026-01-02T03:04:05.678Z");
  assert.equal(stampOf(line, "2026-01-02t"), "");
  assert.equal(stampOf("a traceback"), "");
});

test("the level is the second word of a line", () => {
  assert.equal(levelOf("2026-01-02T03:04:05Z WARNING low"), "warning");
  assert.equal(levelOf("2026-01-02T03:04:05Z CRITICAL out"), "error");
  assert.equal(levelOf("a traceback"), "info");
});
