// The rows that a chart draws: smallest, largest, as measured and smoothed of each curve, over one
// list of x.

import { smoothed } from "./series.js";

export const ROWS = 4;

// Where each of several sorted lists has its entries in the union of all.
export function union(lists) {
  if (lists.length === 1) return { xs: lists[0].slice(), places: [null] };
  const at = lists.map(() => 0);
  const places = lists.map((list) => new Int32Array(list.length));
  const xs = [];
  for (;;) {
    let next = Infinity;
    for (let i = 0; i < lists.length; i += 1) if (at[i] < lists[i].length && lists[i][at[i]] < next) next = lists[i][at[i]];
    if (next === Infinity) return { xs, places };
    for (let i = 0; i < lists.length; i += 1) {
      while (at[i] < lists[i].length && lists[i][at[i]] === next) {
        places[i][at[i]] = xs.length;
        at[i] += 1;
      }
    }
    xs.push(next);
  }
}

// curves: [{ x, value, min, max, beta }]; x is sorted. Four rows a curve, null where it has no point.
export function layers(curves) {
  const lists = [...new Set(curves.map(({ x }) => x))];
  const { xs, places } = union(lists);
  const rows = curves.flatMap((curve) => {
    const spread = (row) => placed(row, places[lists.indexOf(curve.x)], xs.length);
    const { value, min, max, beta } = curve;
    const banded = isBand(min, max);
    return [
      banded ? spread(min) : absent(xs.length),
      banded ? spread(max) : absent(xs.length),
      beta ? spread(value) : absent(xs.length),
      spread(beta ? smoothed(value, beta) : value),
    ];
  });
  return [xs, ...rows];
}

// Points that stand for themselves alone have no band.
function isBand(min, max) {
  return min.some((low, i) => low !== max[i]);
}

function placed(row, places, length) {
  if (!places) return row.slice();
  const answer = absent(length);
  for (let i = 0; i < row.length; i += 1) answer[places[i]] = row[i];
  return answer;
}

function absent(length) {
  return new Array(length).fill(null);
}

// Only what lies above zero can be shown on a logarithmic axis.
export function aboveZero(columns) {
  const start = columns.x.findIndex((x) => x > 0);
  if (start <= 0) return start < 0 ? { ...columns, x: [], value: [], min: [], max: [] } : columns;
  const cut = (row) => row.slice(start);
  return { ...columns, x: cut(columns.x), value: cut(columns.value), min: cut(columns.min), max: cut(columns.max) };
}
