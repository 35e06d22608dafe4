// The readings of the machine: in order of time, finer where one looks, extremes kept.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Readings } from "./js/machine.js";

function cpu(ids, seconds = ids, value = (id) => id) {
  const values = ids.map(value);
  return { cpu_percent: { id: ids, elapsed_seconds: seconds, value: values, min: values, max: values, of: ids.length } };
}

test("readings come once, however often they are told", () => {
  const readings = new Readings();
  readings.merge(cpu([1, 2]));
  readings.merge(cpu([2, 3]));
  assert.deepEqual(readings.drawn("cpu_percent").x, [1, 2, 3]);
  assert.equal(readings.newest("cpu_percent"), 3);
});

test("after a resume the time of the checkpoint comes again", () => {
  const readings = new Readings();
  readings.merge(cpu([1, 2, 3, 4], [10, 20, 30, 15]));
  const { x, value } = readings.drawn("cpu_percent");
  assert.deepEqual([x, value], [[10, 15, 20, 30], [1, 4, 2, 3]]);
});

test("a part in view is finer, and what comes live stands behind it", () => {
  const readings = new Readings();
  readings.merge(cpu([10, 20, 30]));
  readings.detail({ from: 15, to: 100, series: cpu([16, 18, 20, 30]) });
  readings.merge(cpu([31]));
  assert.deepEqual(readings.drawn("cpu_percent").x, [10, 16, 18, 20, 30, 31]);
  readings.detail(null);
  assert.deepEqual(readings.drawn("cpu_percent").x, [10, 20, 30, 31]);
});

test("thinning keeps a spike", () => {
  const readings = new Readings();
  const ids = Array.from({ length: 7000 }, (_, i) => i + 1);
  readings.merge(cpu(ids, ids, (id) => (id === 3333 ? 99 : 1)));
  assert.equal(Math.max(...readings.drawn("cpu_percent").max), 99);
  assert.deepEqual(readings.counts("cpu_percent"), { drawn: 3500, there: 7000 });
});
