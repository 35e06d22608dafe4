// How the axes of a chart are divided, and what stands at their marks.

import { general } from "./formats.js";

// Steps and tokens are whole: between them there is nothing to label.
const WHOLE_STEPS = [1, 2, 5, ...Array.from({ length: 12 }, (_, power) => [10, 20, 25, 50].map((step) => step * 10 ** power)).flat()];
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
export const X_STEPS = { step: WHOLE_STEPS, tokens: WHOLE_STEPS, time: TIME_STEPS };

// The pixels that a label takes at the least, with some air: a time has more words than a number.
const LABEL_PX = { step: 46, tokens: 52, time: 64, epoch: 46 };
const ROOMY_PX = 80;
const WIDE_PX = 400;

// Where there is room, labels stand wider apart than they need.
export function labelSpace(axis, pixels) {
  return pixels > WIDE_PX ? ROOMY_PX : LABEL_PX[axis];
}

// Where the labels of a logarithmic axis stand: on round places, no two nearer than a label needs.
export function logarithmicSplits(axis, [from, to], pixels) {
  const share = LABEL_PX[axis] / pixels * Math.log(to / from);
  const chosen = [];
  for (const place of roundPlaces(axis, from)) {
    if (place > to) break;
    if (place >= from && (!chosen.length || Math.log(place / chosen.at(-1)) >= share)) chosen.push(place);
  }
  return chosen;
}

function roundPlaces(axis, from) {
  if (axis === "time") return from < 1 ? [0.1, 0.2, 0.5, ...TIME_STEPS] : TIME_STEPS;
  const lowest = Math.floor(Math.log10(from));
  return Array.from({ length: 24 }, (_, i) => [1, 2, 5].map((digit) => Number(`${digit}e${lowest + i}`))).flat();
}

// The smallest round distance that is no smaller than this.
export function roundStep(axis, least) {
  const known = X_STEPS[axis]?.find((step) => step >= least);
  if (known) return known;
  const power = Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((digit) => Number(`${digit}e${power}`)).find((step) => step >= least);
}

export function axisWidth(values) {
  const longest = Math.max(0, ...(values ?? []).map((text) => text.length));
  return Math.max(30, longest * 6.2 + 14);
}

// On a logarithmic axis the distance of two labels says nothing about the next two.
export function powerLabel(value) {
  return general(value, 3);
}

export function axisLabels(splits, format) {
  if (format) return splits.map((split) => (split == null ? "" : format(split)));
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
  let digits = 0;
  while (digits < 6 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits += 1;
  return splits.map((split) => (split == null ? "" : split.toFixed(digits)));
}
