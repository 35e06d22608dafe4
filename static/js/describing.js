// A chart in words, as a table and as a file: pure functions of what it draws.
// A drawn curve: { label, format(value), x, value, min, max, smooth } with as many of each as points.

import { roundStep } from "./axes.js";
import { firstAbove } from "./series.js";

const LEVEL_SHARE = 0.01;
const TABLE_ROWS = 24;

export function summary(title, curves, placeWords) {
  const told = curves.map((curve) => curveSummary(curve, placeWords)).filter(Boolean);
  return `${title}: ${told.join(" ") || "no points yet."}`;
}

// First, last, smallest, largest, and where it has been going lately.
export function curveSummary({ label, format, x, value, min, max }, placeWords) {
  if (!x.length) return "";
  const last = x.length - 1;
  const [low, high] = [leastIndex(min), leastIndex(max.map((one) => -one))];
  const at = (number, i) => `${format(number)} at ${placeWords(x[i])}`;
  if (!last) return `${label} ${at(value[0], 0)}.`;
  return `${label} from ${at(value[0], 0)} to ${at(value[last], last)}; `
    + `lowest ${at(min[low], low)}, highest ${at(max[high], high)}; ${trend(x, value)} over the last tenth.`;
}

function leastIndex(values) {
  return values.reduce((best, value, i) => (value < values[best] ? i : best), 0);
}

// Compare the two halves of the last tenth of the axis, against the whole height of the curve.
export function trend(x, value) {
  const from = x.at(-1) - (x.at(-1) - x[0]) / 10;
  const tail = value.filter((_, i) => x[i] >= from);
  const recent = tail.length < 2 ? value.slice(-2) : tail;
  const middle = Math.floor(recent.length / 2);
  const change = mean(recent.slice(middle)) - mean(recent.slice(0, middle));
  const height = value.reduce((a, b) => Math.max(a, b)) - value.reduce((a, b) => Math.min(a, b));
  if (Math.abs(change) <= LEVEL_SHARE * height) return "level";
  return change < 0 ? "falling" : "rising";
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

// What is drawn between two places of the axis: every evaluation at its own place, and about so many
// round places of the other curves, the first and the last among them. Evaluations are too many to
// show each when they alone are more than that.
export function tableRows(axis, curves, range = null, most = TABLE_ROWS) {
  const [from, to] = range ?? [-Infinity, Infinity];
  const placesOf = (some) => [...new Set(some.flatMap(({ x }) => x))].filter((x) => x >= from && x <= to).sort((a, b) => a - b);
  const measured = spread(axis, placesOf(curves.filter(({ points }) => points)), most);
  const drawn = spread(axis, placesOf(curves.filter(({ points }) => !points)), most);
  const places = [...new Set([...measured, ...drawn])].sort((a, b) => a - b);
  return places.map((x) => ({ x, values: curves.map((curve) => valueAt(curve, x)) }));
}

// The first place, the last one, and those next to round ones between.
function spread(axis, places, most) {
  if (places.length <= most) return places;
  const [first, last] = [places[0], places.at(-1)];
  const step = roundStep(axis, (last - first) / (most - 2));
  const chosen = [first];
  for (let round = (Math.floor(first / step) + 1) * step; round < last; round += step) chosen.push(nearest(places, round));
  return [...chosen, last];
}

function nearest(places, place) {
  const above = firstAbove(places, place);
  return place - places[above - 1] <= places[above] - place ? places[above - 1] : places[above];
}

// What was measured at a place. A point of a curve that is drawn with fewer points than there are
// stands for those before it; an evaluation stands for itself.
function valueAt({ x, value, points }, place) {
  const last = firstAbove(x, place) - 1;
  if (x[last] === place) return value[last];
  return points || last < 0 ? null : value[last + 1] ?? null;
}

// One line a point: what is drawn, between the ends of the axis that are in view.
export function csvText(axis, curves, [from, to] = [-Infinity, Infinity]) {
  const lines = curves.flatMap(({ label, x, value, min, max, smooth }) => x.flatMap((place, i) => {
    if (place < from || place > to) return [];
    return [[quoted(label), place, value[i], min[i], max[i], smooth ? smooth[i] : ""].join(",")];
  }));
  return `${["curve", axis, "value", "smallest", "largest", "smoothed"].join(",")}\n${lines.map((line) => `${line}\n`).join("")}`;
}

// What a chart is kept as; a part of it says which: "fox loss step 100-900.csv".
export function fileName(words, axis, range, ending) {
  const ends = range?.map((place) => String(Number(place.toPrecision(4))));
  return `${words}${ends ? ` ${axis} ${ends.join("-")}${axis === "time" ? " s" : ""}` : ""}.${ending}`;
}

// A cell that a spreadsheet would take for a formula is kept a text.
function quoted(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

// Say when fewer points are drawn than there are; the band shows their extremes.
export function countsWords(drawn, there, count) {
  return drawn < there ? `${count(drawn)} of ${count(there)} points; the band holds the extremes` : "";
}
