// A chart as a picture to keep, and any text as a file.

import { color } from "./palette.js";

const HEAD = 34;
const FOOT = 26;
const SIDE = 12;

// What stands in a picture: { title, legend: [{ words, token }], xName, yName }.
export function pictureOf(plot, { title, legend, xName, yName }) {
  const source = plot.ctx.canvas;
  const scale = source.width / plot.width;
  const canvas = document.createElement("canvas");
  canvas.width = source.width + 2 * SIDE * scale;
  canvas.height = source.height + (2 * HEAD + FOOT) * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = color("--surface");
  context.fillRect(0, 0, canvas.width, canvas.height);
  const pen = new Pen(context, canvas.width / scale, canvas.height / scale);
  pen.write(title, SIDE, HEAD / 2 + 2, { weight: 600, size: 13 });
  pen.writeLegend(legend);
  pen.write(yName, SIDE, HEAD * 1.75, { token: "--text-faint" });
  pen.write(xName, pen.width - SIDE, pen.height - FOOT / 2, { token: "--text-faint", align: "right" });
  context.drawImage(source, SIDE, 2 * HEAD, plot.width, plot.height);
  return canvas;
}

class Pen {
  constructor(context, width, height) {
    Object.assign(this, { context, width, height });
    this.family = getComputedStyle(document.body).fontFamily;
    context.textBaseline = "middle";
  }

  write(words, x, y, { weight = 400, size = 11, token = "--text", align = "left" } = {}) {
    this.context.font = `${weight} ${size}px ${this.family}`;
    this.context.fillStyle = color(token);
    this.context.textAlign = align;
    this.context.fillText(words, x, y, this.width - 2 * SIDE);
    return this.context.measureText(words).width;
  }

  // From the right, on the line of the axis' name.
  writeLegend(legend) {
    let right = this.width - SIDE;
    for (const { words, token } of legend.toReversed()) {
      right -= this.write(words, right, HEAD * 1.25, { token, align: "right" }) + 16;
    }
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
