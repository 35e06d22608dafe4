// The title and the sign of a run's tab, what is said when a run ends, and the levels of log lines.
import assert from "node:assert/strict";
import { test } from "node:test";
import { levelOf } from "./js/log.js";
import { ending } from "./js/notify.js";
import { favicon, titleWords, toneOf } from "./js/tab.js";

const running = { status: "running", step: 42, total_steps: 100, run_id: "a", name: "fox", warnings: [] };

test("the title tells how far a run has come, or how it ended", () => {
  assert.equal(titleWords(running, "fox"), "42 % · fox");
  assert.equal(titleWords({ ...running, paused: true }, "fox"), "⏸ 42 % · fox");
  assert.equal(titleWords({ status: "queued" }, "fox"), "queued · fox");
  assert.equal(titleWords({ status: "preparing" }, "fox"), "fox");
  assert.equal(titleWords({ ...running, status: "completed" }, "fox"), "✓ fox");
  assert.equal(titleWords({ ...running, status: "failed" }, "fox"), "✗ fox");
});

test("the sign is a ring as full as the run is done", () => {
  assert.match(favicon(running), /stroke-dasharray="31\.7 75\.4"/);
  assert.match(favicon({ ...running, status: "completed" }), /stroke-dasharray="75\.4 75\.4".*m10 16\.5/);
  assert.equal(toneOf({ status: "failed" }), "bad");
  assert.equal(toneOf({ ...running, paused: true }), "warning");
});

test("only a run that has just ended is worth a notification", () => {
  const done = { ...running, status: "completed", val_loss: 3.5 };
  assert.deepEqual(ending(running, done), { title: "✓ fox is completed", body: "Validation loss 3.5000 after 42 steps." });
  const failed = { ...running, status: "failed", name: null, error: { message: "Out of memory." } };
  assert.deepEqual(ending(running, failed), { title: "✗ a failed", body: "Out of memory." });
  assert.equal(ending(running, running), null);
  assert.equal(ending(done, done), null);
  assert.equal(ending(null, done), null);
});

test("the second word of a line is its level", () => {
  assert.equal(levelOf("2026 WARNING disk"), "warning");
  assert.equal(levelOf("2026 CRITICAL gone"), "error");
  assert.equal(levelOf("Traceback (most recent call last):"), "info");
});
