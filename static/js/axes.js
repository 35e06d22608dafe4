// How the axes of a chart are divided, and what stands at their marks.

import { general } from "./formats.js";

// Steps and tokens are whole: between them there is nothing to label.
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
export const X_STEPS = { step: WHOLE_STEPS, tokens: WHOLE_STEPS, time: TIME_STEPS };

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
