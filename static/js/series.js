// The curves of a run as columns, kept up to date by deltas. Nothing here knows of the page.

const AXES = { step: "step", tokens: "tokens", time: "elapsed_seconds", epoch: "epoch" };
const COLUMNS = ["step", "value", "min", "max", "epoch", "tokens", "elapsed_seconds"];
const MOST_POINTS = 6000;

export function emptyColumns() {
  return Object.fromEntries(COLUMNS.map((name) => [name, []]));
}

// Where a sorted list passes a value: the index of the first entry above it.
export function firstAbove(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

// Exponential moving average without the pull towards zero at its start (Kingma and Ba, 2014).
export function smoothed(values, beta) {
  let mean = 0;
  let weight = 1;
  return values.map((value) => {
    if (value == null) return null;
    mean = beta * mean + (1 - beta) * value;
    weight *= beta;
    return mean / (1 - weight);
  });
}

// Half as many points: each pair keeps its last value, its smallest and its largest.
export function halved(columns) {
  const answer = emptyColumns();
  for (let i = 0; i < columns.step.length; i += 2) {
    const j = Math.min(i + 1, columns.step.length - 1);
    for (const name of COLUMNS) answer[name].push(columns[name][j]);
    answer.min[answer.min.length - 1] = Math.min(columns.min[i], columns.min[j]);
    answer.max[answer.max.length - 1] = Math.max(columns.max[i], columns.max[j]);
  }
  return answer;
}

// Columns up to and including a step.
function upTo(columns, step) {
  const end = firstAbove(columns.step, step);
  if (end === columns.step.length) return columns;
  return Object.fromEntries(COLUMNS.map((name) => [name, columns[name].slice(0, end)]));
}

function from(columns, step) {
  const start = firstAbove(columns.step, step);
  return Object.fromEntries(COLUMNS.map((name) => [name, columns[name].slice(start)]));
}

function append(columns, more) {
  for (let i = 0; i < more.step.length; i += 1) {
    const known = columns.step.at(-1) === more.step[i];
    for (const name of COLUMNS) {
      if (known) columns[name].pop();
      columns[name].push(more[name][i]);
    }
  }
}

export class History {
  constructor() {
    this.series = new Map();
    this.counts = new Map();
    this.details = null;
  }

  columns(name) {
    if (!this.series.has(name)) this.series.set(name, emptyColumns());
    return this.series.get(name);
  }

  // A delta: what lies past after_step is void, what comes is put behind it. Tells whether a point
  // went that also stood for steps before after_step: then the whole must be read again.
  merge({ after_step: afterStep, series }) {
    let torn = false;
    if (afterStep != null) for (const name of this.series.keys()) torn = this.cut(name, afterStep) || torn;
    for (const [name, more] of Object.entries(series)) {
      append(this.columns(name), more);
      this.count(name, more);
    }
    return torn;
  }

  cut(name, step) {
    const columns = this.columns(name);
    const kept = upTo(columns, step);
    if (kept === columns) return false;
    const thinned = this.counts.get(name) > columns.step.length;
    this.series.set(name, kept);
    this.counts.set(name, kept.step.length);
    return thinned && kept.step.at(-1) !== step;
  }

  // The whole as it was at some moment; what came after that moment stays behind it.
  rebase(series) {
    for (const [name, whole] of Object.entries(series)) {
      const newer = from(this.columns(name), whole.step.at(-1) ?? -1);
      const columns = emptyColumns();
      append(columns, whole);
      append(columns, newer);
      this.series.set(name, columns);
      this.counts.set(name, whole.of + newer.step.length);
    }
  }

  count(name, more) {
    const columns = this.columns(name);
    this.counts.set(name, Math.max((this.counts.get(name) ?? 0) + more.of, columns.step.length));
    if (columns.step.length > MOST_POINTS) this.series.set(name, halved(columns));
  }

  lastStep() {
    return this.columns("train_loss").step.at(-1) ?? null;
  }

  // Finer points of a part of the curve, shown in place of the coarse ones while zoomed in.
  setDetails(first, last, series) {
    this.details = { first, last, series };
  }

  clearDetails() {
    this.details = null;
  }

  // The columns to draw across an axis: step, tokens, time or epoch.
  drawn(name, axis) {
    const columns = this.withDetails(name);
    return { x: columns[AXES[axis]], step: columns.step, value: columns.value, min: columns.min, max: columns.max };
  }

  withDetails(name) {
    const columns = this.columns(name);
    const fine = this.details?.series[name];
    if (!fine || !fine.step.length) return columns;
    const joined = upTo(columns, this.details.first - 1);
    const copy = Object.fromEntries(COLUMNS.map((key) => [key, joined[key].slice()]));
    append(copy, fine);
    append(copy, from(columns, fine.step.at(-1)));
    return copy;
  }

  // Read a value of one axis as the value of another, along the training curve.
  translate(value, fromAxis, toAxis) {
    const columns = this.columns("train_loss");
    return interpolate(value, columns[AXES[fromAxis] ?? fromAxis], columns[AXES[toAxis] ?? toAxis]);
  }
}

export function interpolate(value, xs, ys) {
  if (!xs.length) return null;
  const i = firstAbove(xs, value);
  if (i === 0) return ys[0];
  if (i === xs.length) return ys.at(-1);
  const share = (value - xs[i - 1]) / (xs[i] - xs[i - 1] || 1);
  return ys[i - 1] + share * (ys[i] - ys[i - 1]);
}
