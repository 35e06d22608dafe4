// Readings of the machine as curves: the history in buckets, and what comes live behind it. They know
// only the time; the training curve tells which step that was.

const MOST_POINTS = 6000;
const COLUMNS = ["elapsed_seconds", "value", "min", "max"];

function emptyColumns() {
  return { elapsed_seconds: [], value: [], min: [], max: [], count: 0 };
}

export class Readings {
  constructor() {
    this.fields = new Map();
    this.lastId = 0;
    this.lastSeconds = 0;
    this.fine = null;
  }

  // Finer readings of a stretch of time ({ from, to } in seconds, series) in place of the coarse
  // ones; null: the coarse ones alone.
  detail(known) {
    this.fine = known;
  }

  // Columns by field, as the server gives them: the history, or what came after it.
  merge(series) {
    const ids = Object.values(series).map((more) => more.id.at(-1) ?? 0);
    for (const [field, more] of Object.entries(series)) this.append(field, more);
    this.lastId = Math.max(this.lastId, ...ids);
  }

  append(field, more) {
    const columns = this.fields.get(field) ?? emptyColumns();
    more.id.forEach((id, i) => {
      const at = more.elapsed_seconds[i];
      if (id <= this.lastId || at == null) return;
      for (const name of COLUMNS) columns[name].push(more[name][i]);
      this.lastSeconds = Math.max(this.lastSeconds, at);
    });
    columns.count += more.of;
    this.fields.set(field, columns.value.length > MOST_POINTS ? halved(columns) : columns);
  }

  has(...fields) {
    return fields.some((field) => this.fields.get(field)?.value.length);
  }

  newest(field) {
    return this.fields.get(field)?.value.at(-1) ?? null;
  }

  // place(seconds): where a time lies on the axis.
  drawn(field, place) {
    const { elapsed_seconds: seconds, value, min, max } = this.inTime(field);
    return { x: place ? seconds.map(place) : seconds, value, min, max };
  }

  inTime(field) {
    const coarse = this.fields.get(field) ?? emptyColumns();
    const fine = this.fine?.series[field];
    if (!fine?.id.length) return byTime(coarse);
    const outside = reordered(coarse, (at) => at < this.fine.from || at > Math.max(...fine.elapsed_seconds));
    return byTime(Object.fromEntries(COLUMNS.map((name) => [name, [...outside[name], ...fine[name]]])));
  }

  counts(field) {
    const columns = this.fields.get(field);
    return { drawn: columns?.value.length ?? 0, there: columns?.count ?? 0 };
  }
}

// A resumed run takes up the time of its checkpoint: its readings lie among those from before.
function byTime(columns) {
  const seconds = columns.elapsed_seconds;
  if (seconds.every((at, i) => i === 0 || seconds[i - 1] <= at)) return columns;
  return reordered(columns, (at) => at != null);
}

// The rows whose time fits, in the order of time.
function reordered(columns, fits) {
  const seconds = columns.elapsed_seconds;
  const order = [...seconds.keys()].filter((i) => fits(seconds[i])).sort((a, b) => seconds[a] - seconds[b]);
  return Object.fromEntries(COLUMNS.map((name) => [name, order.map((i) => columns[name][i])]));
}

// Half as many points: each pair keeps its last value, its smallest and its largest.
export function halved(columns) {
  const answer = { ...emptyColumns(), count: columns.count };
  for (let i = 0; i < columns.value.length; i += 2) {
    const j = Math.min(i + 1, columns.value.length - 1);
    answer.elapsed_seconds.push(columns.elapsed_seconds[j]);
    answer.value.push(columns.value[j]);
    answer.min.push(Math.min(columns.min[i], columns.min[j]));
    answer.max.push(Math.max(columns.max[i], columns.max[j]));
  }
  return answer;
}
