// A chart as a picture to keep, and any text as a file.

import { color } from "./palette.js";

const HEAD = 34;
const FOOT = 26;
const SIDE = 12;
const LINE = 18;
const STROKE = 20;
const GAP = 6;
const APART = 16;

// What stands in a picture: { title, legend: [{ words, token, dash }], xName, yName }.
export function pictureOf(plot, { title, legend, xName, yName }) {
  const source = plot.ctx.canvas;
  const scale = source.width / plot.width;
  const canvas = document.createElement("canvas");
  canvas.width = source.width + 2 * SIDE * scale;
  const context = canvas.getContext("2d");
  const widths = legend.map(({ words }) => textWidth(context, words) + STROKE + GAP);
  const lines = legendLines(widths, plot.width - 2 * SIDE);
  const head = 2 * HEAD + (lines.length - 1) * LINE;
  canvas.height = source.height + (head + FOOT) * scale;
  context.scale(scale, scale);
  context.fillStyle = color("--surface");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const pen = new Pen(context, canvas.width / scale, canvas.height / scale);
  pen.write(title, SIDE, HEAD / 2 + 2, { weight: 600, size: 13 });
  pen.writeLegend(lines.map((line) => line.map((i) => ({ ...legend[i], width: widths[i] }))));
  pen.write(yName, SIDE, head - HEAD / 4, { token: "--text-faint" });
  pen.write(xName, pen.width - SIDE, pen.height - FOOT / 2, { token: "--text-faint", align: "right" });
  context.drawImage(source, SIDE, head, plot.width, plot.height);
  return canvas;
}

// Which entries of a legend stand on a line together; an entry wider than the room has its own.
export function legendLines(widths, room) {
  const lines = [[]];
  let taken = 0;
  widths.forEach((width, i) => {
    if (taken && taken + width > room) {
      lines.push([]);
      taken = 0;
    }
    lines.at(-1).push(i);
    taken += width + APART;
  });
  return lines;
}

function fontOf(weight, size) {
  return `${weight} ${size}px ${getComputedStyle(document.body).fontFamily}`;
}

function textWidth(context, words) {
  context.font = fontOf(400, 11);
  return context.measureText(words).width;
}

class Pen {
  constructor(context, width, height) {
    Object.assign(this, { context, width, height });
    context.textBaseline = "middle";
  }

  write(words, x, y, { weight = 400, size = 11, token = "--text", align = "left" } = {}) {
    this.context.font = fontOf(weight, size);
    this.context.fillStyle = color(token);
    this.context.textAlign = align;
    this.context.fillText(words, x, y, this.width - 2 * SIDE);
  }

  // Line by line under the title, each entry behind a stroke as its curve has it.
  writeLegend(lines) {
    lines.forEach((entries, line) => {
      let x = SIDE;
      for (const { words, token, dash, width } of entries) {
        const y = HEAD * 1.15 + line * LINE;
        this.stroke(x, y, token, dash ?? []);
        this.write(words, x + STROKE + GAP, y);
        x += width + APART;
      }
    });
  }

  stroke(x, y, token, dash) {
    const { context } = this;
    context.strokeStyle = color(token);
    context.lineWidth = 2;
    context.setLineDash(dash);
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + STROKE, y);
    context.stroke();
  }
}

export function saveCanvas(canvas, name) {
  save(canvas.toDataURL("image/png"), name);
}

export function saveText(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  save(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function save(address, name) {
  const link = document.createElement("a");
  link.download = name;
  link.href = address;
  link.click();
}
