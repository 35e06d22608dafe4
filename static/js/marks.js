// What is marked on a curve, how it is drawn, and what it means.

import { color } from "./palette.js";

const REACH_PX = 7;

export const MARKS = {
  checkpoint: { sign: "▲", word: "checkpoint", draw: drawCheckpoint },
  resumed: { sign: "┆", word: "resumed", draw: drawResumed },
  best: { sign: "○", word: "best evaluation", draw: drawBest },
};

// The kinds that are there, in the order of the table above.
export function legend(marks) {
  const kinds = new Set(marks.map(({ kind }) => kind));
  return Object.entries(MARKS).filter(([kind]) => kinds.has(kind)).map(([, { sign, word }]) => `${sign} ${word}`).join("   ");
}

// What is said of the marks near a place of the axis, the nearest first.
export function marksNear(marks, place, positionOf) {
  return marks
    .map((mark) => ({ mark, distance: Math.abs(positionOf(mark) - place) }))
    .filter(({ distance }) => distance <= REACH_PX)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ mark }) => `${MARKS[mark.kind].sign} ${mark.words}`);
}

export function drawMark(plot, x, mark) {
  plot.ctx.save();
  MARKS[mark.kind].draw(plot, x, mark);
  plot.ctx.restore();
}

function drawCheckpoint({ ctx, bbox }, x) {
  const unit = devicePixelRatio;
  const foot = bbox.top + bbox.height;
  ctx.fillStyle = color("--text-faint");
  ctx.beginPath();
  ctx.moveTo(x, foot - 5 * unit);
  ctx.lineTo(x - 3.5 * unit, foot);
  ctx.lineTo(x + 3.5 * unit, foot);
  ctx.fill();
}

function drawResumed({ ctx, bbox }, x) {
  ctx.strokeStyle = color("--tone-busy");
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
}

function drawBest(plot, x, { value }) {
  const { ctx } = plot;
  ctx.strokeStyle = color("--tone-good");
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.beginPath();
  ctx.arc(x, plot.valToPos(value, "y", true), 6.5 * devicePixelRatio, 0, 2 * Math.PI);
  ctx.stroke();
}
