// What charts work out before anything is drawn: rows, ranges, details, words, files and marks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { logarithmicSplits, roundStep } from "./js/axes.js";
import { countsWords, csvText, curveSummary, fileName, tableRows, trend } from "./js/describing.js";
import { Details, windowOf } from "./js/details.js";
import { aboveZero, layers, union } from "./js/layers.js";
import { Readings } from "./js/machine.js";
import { marksOf, overlayDash, overlayToken } from "./js/runcharts.js";
import { panned, zoomed } from "./js/viewport.js";

const plain = (value) => String(value);

function curve(x, value, more = {}) {
  return { label: "Loss", format: plain, x, value, min: value, max: value, ...more };
}

// ------------------------------------------------------------------ rows

test("curves share one axis, with gaps where one has no point", () => {
  const [xs, ...rows] = layers([curve([1, 2, 4], [10, 20, 40]), curve([2, 3], [7, 8])]);
  assert.deepEqual(xs, [1, 2, 3, 4]);
  assert.deepEqual(rows[3], [10, 20, null, 40]);
  assert.deepEqual(rows[7], [null, 7, 8, null]);
});

test("a band is drawn where points stand for several, and shows a spike of one step", () => {
  const rows = layers([curve([10, 20], [1, 2], { min: [1, 1], max: [9, 2], beta: 0.5 })]);
  assert.deepEqual(rows.slice(1, 4), [[1, 1], [9, 2], [1, 2]]);
  assert.equal(rows[4][0], 1);
  assert.deepEqual(layers([curve([10, 20], [1, 2])]).slice(1, 4), [[null, null], [null, null], [null, null]]);
});

test("what is drawn does not change with the curves behind it", () => {
  const steps = [1, 2];
  const [xs] = layers([curve(steps, [3, 4])]);
  steps.push(3);
  assert.deepEqual(xs, [1, 2]);
  assert.deepEqual(union([[1, 3], [2]]).xs, [1, 2, 3]);
});

test("a logarithmic axis begins above zero", () => {
  assert.deepEqual(aboveZero(curve([0, 5, 6], [1, 2, 3])).x, [5, 6]);
  assert.deepEqual(aboveZero(curve([0], [1])).x, []);
});

// ------------------------------------------------------------------ ranges

test("zooming keeps a place where it is, within the bounds", () => {
  assert.deepEqual(zoomed(null, 50, 0.5, [0, 100]), [25, 75]);
  assert.deepEqual(zoomed([20, 40], 20, 2, [0, 100]), [20, 60]);
  assert.deepEqual(zoomed([80, 100], 80, 2, [0, 100]), [80, 100]);
  assert.equal(zoomed([25, 75], 50, 4, [0, 100]), null);
});

test("moving along stops at the ends", () => {
  assert.deepEqual(panned([20, 40], 0.5, [0, 100]), [30, 50]);
  assert.deepEqual(panned([20, 40], -5, [0, 100]), [0, 20]);
  assert.deepEqual(panned([20, 40], 50, [0, 100]), [80, 100]);
  assert.equal(panned(null, 1, [0, 100]), null);
});

// ------------------------------------------------------------------ details

const settled = () => new Promise((resolve) => { setTimeout(resolve, 5); });

function source() {
  const asked = [];
  const ask = (from, to, points) => new Promise((resolve) => {
    const answer = (of = 10_000) => resolve({ series: { train_loss: { points, of } } });
    asked.push({ from, to, points, answer });
  });
  return { asked, ask };
}

test("what is asked for lies on a grid of its level", () => {
  assert.deepEqual(windowOf(100, 199), [96, 223]);
  assert.deepEqual(windowOf(110, 205), [96, 223]);
  assert.deepEqual(windowOf(0, 0), [0, 0]);
});

test("a late answer to an older question is kept, not shown", async () => {
  const { asked, ask } = source();
  const shown = [];
  let now = 0;
  const details = new Details(ask, (known) => shown.push(known?.from ?? null), 100, () => now);
  details.look([100, 199], 5000);
  await settled();
  now = 1000;
  details.look([1000, 1099], 5000);
  await settled();
  asked[1].answer();
  await settled();
  asked[0].answer();
  await settled();
  assert.deepEqual(shown, [992]);
  details.look([100, 199], 5000);
  assert.deepEqual(shown, [992, 96]);
  assert.equal(asked.length, 2);
});

test("complete points do for every closer look, until a resumed run writes them anew", async () => {
  const { asked, ask } = source();
  const shown = [];
  let now = 0;
  const details = new Details(ask, (known) => shown.push(known?.from ?? null), 100, () => now);
  details.look([100, 199], 5000);
  await settled();
  asked[0].answer(asked[0].points);
  await settled();
  details.look([120, 130], 5000);
  details.look(null, 5000);
  assert.deepEqual(shown, [96, 96, null]);
  details.look([120, 130], 5000);
  now = 1000;
  details.forgetAfter(110, 110);
  await settled();
  assert.equal(asked.length, 2);
});

// ------------------------------------------------------------------ words, tables, files

test("a curve is told by its ends, its extremes and its trend", () => {
  const steps = Array.from({ length: 101 }, (_, i) => i);
  const falling = curve(steps, steps.map((step) => 200 - step));
  assert.equal(
    curveSummary(falling, (x) => `step ${x}`),
    "Loss from 200 at step 0 to 100 at step 100; lowest 100 at step 100, highest 200 at step 0; falling over the last tenth.",
  );
  assert.equal(curveSummary(curve([7], [3]), (x) => `step ${x}`), "Loss 3 at step 7.");
  assert.equal(curveSummary(curve([], []), plain), "");
  assert.equal(trend([0, 50, 90, 95, 100], [9, 5, 3, 3, 3.01]), "level");
  assert.equal(trend([1, 2], [1, 2]), "rising");
});

test("a table has the ends, round places between, and every evaluation at its own", () => {
  const steps = Array.from({ length: 100 }, (_, i) => i + 1);
  const curves = [curve(steps, steps), curve([33, 100], [5, 10], { points: true })];
  const rows = tableRows("step", curves, null, 4);
  assert.deepEqual(rows.map(({ x }) => x), [1, 33, 50, 100]);
  assert.deepEqual(rows.map(({ values }) => values), [[1, null], [33, 5], [50, null], [100, 10]]);
});

test("a table has what is in view, and nothing before the first point or after the last", () => {
  const steps = Array.from({ length: 100 }, (_, i) => i + 1);
  const overlaid = curve([12, 14, 16], [1, 2, 3]);
  const rows = tableRows("step", [curve(steps, steps), overlaid], [10.5, 17]);
  assert.deepEqual(rows.map(({ x }) => x), [11, 12, 13, 14, 15, 16, 17]);
  assert.deepEqual(rows.map(({ values }) => values[1]), [null, 1, 2, 2, 3, 3, null]);
});

test("the name of a file says which part it holds", () => {
  assert.equal(fileName("fox loss", "step", null, "csv"), "fox loss.csv");
  assert.equal(fileName("fox loss", "step", [100.04, 900], "csv"), "fox loss step 100-900.csv");
  assert.equal(fileName("fox loss", "time", [0.5, 60], "png"), "fox loss time 0.5-60 s.png");
});

// ------------------------------------------------------------------ axes

test("a logarithmic axis has as many round labels as there is room for", () => {
  assert.deepEqual(logarithmicSplits("time", [8, 110], 600), [10, 15, 30, 60]);
  assert.deepEqual(logarithmicSplits("time", [80, 110], 200), []);
  assert.deepEqual(logarithmicSplits("step", [1, 1000], 500), [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  assert.equal(logarithmicSplits("step", [1, 1000], 140).length, 4);
});

test("distances are round", () => {
  assert.equal(roundStep("step", 21), 25);
  assert.equal(roundStep("time", 31), 60);
  assert.equal(roundStep("epoch", 0.03), 0.05);
});

// ------------------------------------------------------------------ marks and overlays

test("a mark lies where its evaluation was measured", () => {
  const judged = { step: [10, 20], value: [3, 2], tokens: [100, 200], elapsed_seconds: [11, 25], epoch: [1, 2] };
  const events = [{ kind: "saved", step: 20, message: "saved" }, { kind: "saved", step: 15, message: "saved" }];
  const [saved, between, best] = marksOf(events, judged);
  assert.deepEqual(best.at, { tokens: 200, time: 25, epoch: 2 });
  assert.deepEqual([saved.at, between.at], [best.at, undefined]);
});

test("an overlaid run looks like no other curve of a chart", () => {
  const taken = [];
  for (let i = 0; i < 6; i += 1) taken.push(overlayToken(taken));
  assert.equal(new Set(taken).size, 6);
  assert.ok(!taken.includes("--curve-train") && !taken.includes("--curve-validation"));
  assert.ok(overlayDash({ token: "--curve-violet" }, "--curve-violet"));
  assert.equal(overlayDash({ token: "--curve-violet" }, "--curve-pink"), undefined);
});

test("a file holds the part in view, and no formula", () => {
  const drawn = curve([1, 2, 3], [0.5, 1e-7, 2], { label: "=a, b", smooth: [0.5, 0.4, 1] });
  assert.equal(csvText("step", [drawn], [2, 3]), 'curve,step,value,smallest,largest,smoothed\n"\'=a, b",2,1e-7,1e-7,1e-7,0.4\n"\'=a, b",3,2,2,2,1\n');
});

test("points that were left out are told", () => {
  assert.equal(countsWords(2, 10, plain), "2 of 10 points; the band holds the extremes");
  assert.equal(countsWords(10, 10, plain), "");
});

// ------------------------------------------------------------------ readings of the machine

function reading(ids, value) {
  return { id: ids, elapsed_seconds: ids, value, min: value, max: value, of: ids.length };
}

test("readings come in buckets first and then one by one, once", () => {
  const readings = new Readings();
  readings.merge({ cpu_percent: { ...reading([10, 20], [50, 60]), max: [99, 60], of: 20 } });
  readings.merge({ cpu_percent: reading([20, 21], [60, 70]) });
  const { x, max } = readings.drawn("cpu_percent", null);
  assert.deepEqual([x, max, readings.newest("cpu_percent")], [[10, 20, 21], [99, 60, 70], 70]);
  assert.deepEqual(readings.drawn("cpu_percent", (at) => at * 2).x, [20, 40, 42]);
  assert.ok(!readings.has("gpu_power_w"));
});
