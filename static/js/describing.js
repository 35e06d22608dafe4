// A chart in words, as a table and as a file: pure functions of what it draws.
// A drawn curve: { label, format(value), x, value, min, max, smooth } with as many of each as points.

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

// So many places along the axis, evenly spread over the points, the first and the last among them.
export function tableRows(curves, most = TABLE_ROWS) {
  const places = [...new Set(curves.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const count = Math.min(most, places.length);
  const chosen = Array.from({ length: count }, (_, i) => places[count < 2 ? 0 : Math.round((i * (places.length - 1)) / (count - 1))]);
  return chosen.map((x) => ({ x, values: curves.map((curve) => valueAt(curve, x)) }));
}

// The point at a place, or the one before it.
function valueAt({ x, value }, place) {
  let low = 0;
  let high = x.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x[middle] <= place) low = middle + 1;
    else high = middle;
  }
  return low ? value[low - 1] : null;
}

// One line a point: what is drawn, between the ends of the axis that are in view.
export function csvText(axis, curves, [from, to] = [-Infinity, Infinity]) {
  const lines = curves.flatMap(({ label, x, value, min, max, smooth }) => x.flatMap((place, i) => {
    if (place < from || place > to) return [];
    return [[quoted(label), place, value[i], min[i], max[i], smooth ? smooth[i] : ""].join(",")];
  }));
  return `${["curve", axis, "value", "smallest", "largest", "smoothed"].join(",")}\n${lines.map((line) => `${line}\n`).join("")}`;
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
