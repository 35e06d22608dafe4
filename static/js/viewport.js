// Which part of an axis is looked at: zooming about a place and moving along, within its bounds.
// A range is [from, to]; null stands for the whole.

const SMALLEST_SHARE = 1e-7;
// What one press of a key shrinks a range to.
export const KEY_ZOOM = 0.6;

// Grow (factor above 1) or shrink a range so that a place in it stays where it is.
export function zoomed(range, around, factor, bounds) {
  const [from, to] = range ?? bounds;
  const share = to > from ? (around - from) / (to - from) : 0.5;
  const width = Math.max((to - from) * factor, (bounds[1] - bounds[0]) * SMALLEST_SHARE);
  return within([around - share * width, around + (1 - share) * width], bounds);
}

// Move a range by a share of its width; it stops at the bounds.
export function panned(range, share, bounds) {
  if (!range) return null;
  const width = range[1] - range[0];
  const by = Math.min(Math.max(share * width, bounds[0] - range[0]), bounds[1] - range[1]);
  return [range[0] + by, range[1] + by];
}

function within([from, to], bounds) {
  const range = [Math.max(from, bounds[0]), Math.min(to, bounds[1])];
  return range[0] <= bounds[0] && range[1] >= bounds[1] ? null : range;
}
