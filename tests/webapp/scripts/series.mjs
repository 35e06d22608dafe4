// The curves that the browser keeps: deltas, resumed runs, thinning, smoothing, zoom.
import assert from "node:assert/strict";
import { test } from "node:test";
import { halved, History, interpolate, smoothed } from "./js/series.js";

function columns(steps, value = (step) => step) {
  const values = steps.map(value);
  return {
    step: steps, value: values, min: values, max: values, of: steps.length,
    epoch: steps.map((step) => step / 10), tokens: steps.map((step) => step * 100),
    elapsed_seconds: steps.map((step) => step / 2),
  };
}

function range(first, last) {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

test("deltas are put behind each other", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns([1, 2, 3]) } });
  history.merge({ after_step: 3, series: { train_loss: columns([4, 5]) } });
  assert.deepEqual(history.columns("train_loss").step, [1, 2, 3, 4, 5]);
  assert.equal(history.counts.get("train_loss"), 5);
  assert.equal(history.lastStep(), 5);
});

test("what lies past after_step is void: a resumed run writes it anew", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns([1, 2, 3, 4]), val_loss: columns([2, 4]) } });
  history.merge({ after_step: 2, series: { train_loss: columns([3], () => 30) } });
  assert.deepEqual(history.columns("train_loss").value, [1, 2, 30]);
  assert.deepEqual(history.columns("val_loss").step, [2]);
});

test("an evaluation of the last step that comes later is kept, once", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns([1, 2]) } });
  history.merge({ after_step: 2, series: { val_loss: columns([2]) } });
  history.merge({ after_step: 2, series: { val_loss: columns([2]) } });
  assert.deepEqual(history.columns("val_loss").step, [2]);
});

test("thinning keeps a spike and the last point", () => {
  const thin = halved(columns([1, 2, 3, 4, 5], (step) => (step === 2 ? 99 : step)));
  assert.deepEqual(thin.step, [2, 4, 5]);
  assert.deepEqual(thin.max, [99, 4, 5]);
  assert.deepEqual(thin.min, [1, 3, 5]);
});

test("a long history is thinned by itself and says of how many", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns(range(1, 7000)) } });
  assert.equal(history.columns("train_loss").step.length, 3500);
  assert.equal(history.counts.get("train_loss"), 7000);
  assert.equal(history.lastStep(), 7000);
});

test("smoothing is debiased: it begins at the first value", () => {
  assert.deepEqual(smoothed([4, 4, 4], 0.9).map((value) => Number(value.toFixed(12))), [4, 4, 4]);
  const [first, second] = smoothed([1, 2], 0.5);
  assert.equal(first, 1);
  assert.ok(Math.abs(second - (0.25 * 1 + 0.5 * 2) / 0.75) < 1e-12);
});

test("any axis can be read as any other", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns([0, 10]) } });
  assert.equal(history.translate(5, "step", "tokens"), 500);
  assert.equal(history.translate(2.5, "time", "step"), 5);
  assert.equal(history.translate(99, "step", "epoch"), 1);
  assert.equal(interpolate(1, [], []), null);
});

test("zoomed in, fine points stand in the place of the coarse ones", () => {
  const history = new History();
  history.merge({ after_step: -1, series: { train_loss: columns([10, 20, 30, 40]) } });
  history.setDetails(15, 32, { train_loss: columns([15, 20, 25, 30]) });
  assert.deepEqual(history.drawn("train_loss", "step").x, [10, 15, 20, 25, 30, 40]);
  history.clearDetails();
  assert.deepEqual(history.drawn("train_loss", "tokens").x, [1000, 2000, 3000, 4000]);
});

test("a resume into the middle of a coarse point says so, and the whole is read again", () => {
  const coarse = { ...columns([100, 200, 300]), of: 300 };
  const history = new History();
  history.merge({ after_step: null, series: { train_loss: coarse } });
  assert.equal(history.merge({ after_step: 200, series: {} }), false);
  history.rebase({ train_loss: coarse });
  assert.equal(history.merge({ after_step: 150, series: { train_loss: columns([151, 152]) } }), true);
  assert.deepEqual(history.columns("train_loss").step, [100, 151, 152]);
  history.rebase({ train_loss: { ...columns([100, 150, 151]), of: 151 } });
  assert.deepEqual(history.columns("train_loss").step, [100, 150, 151, 152]);
  assert.equal(history.counts.get("train_loss"), 152);
});
