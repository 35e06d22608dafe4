// The finer points of the part of a curve that is looked at: asked for late, kept by level, and the
// newest question wins. Nothing here knows of the page.

const KEPT = 24;
const WAIT_MS = 150;
const MOST_POINTS = 16_000;

// The steps to ask for: the range widened to a grid of its level, so that going back, or a little to
// the side, finds the answer that is there already.
export function windowOf(from, to) {
  const cell = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(1, to - from + 1))) - 2);
  return [Math.max(0, Math.floor(from / cell) * cell), Math.ceil((to + 1) / cell) * cell - 1];
}

export class Details {
  // ask(from, to, points) promises an answer or null; apply(known) shows one, apply(null) none.
  constructor(ask, apply, points, clock = () => performance.now()) {
    Object.assign(this, { ask, apply, points, clock });
    this.kept = [];
    this.turn = 0;
    this.askedAt = -Infinity;
    this.due = null;
  }

  // Look at some steps; null: at all of them, for which the coarse points do.
  look(steps, lastStep) {
    clearTimeout(this.due);
    this.turn += 1;
    this.steps = steps;
    if (!steps) return this.apply(null);
    const known = this.find(steps, lastStep);
    if (known) return this.apply(known);
    const wait = this.clock() - this.askedAt < WAIT_MS ? WAIT_MS : 0;
    this.askedAt = this.clock();
    const turn = this.turn;
    this.due = setTimeout(() => this.fetch(steps, lastStep, turn), wait);
  }

  async fetch([from, to], lastStep, turn) {
    const [low, high] = windowOf(from, to);
    const points = Math.min(MOST_POINTS, Math.ceil((this.points * (high - low + 1)) / (to - from + 1)));
    const answer = await this.ask(low, high, points);
    if (!answer) return;
    const complete = Object.values(answer.series).every((one) => one.points === one.of);
    const known = { from: low, to: high, series: answer.series, until: lastStep, width: complete ? 0 : (high - low + 1) / points };
    this.kept = [known, ...this.kept].slice(0, KEPT);
    // An answer that comes after a newer question is kept, not shown.
    if (turn === this.turn) this.apply(known);
  }

  find([from, to], lastStep) {
    const finest = (to - from + 1) / this.points;
    const fits = (one) => one.from <= from && one.to >= to && one.width <= finest && (one.to <= one.until || one.until === lastStep);
    return this.kept.find(fits);
  }

  // Steps past one were written anew: what is known of them is void.
  forgetAfter(step, lastStep) {
    this.kept = this.kept.filter(({ to }) => to <= step);
    if (this.steps) this.look(this.steps, lastStep);
  }
}
