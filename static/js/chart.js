// One chart: a uPlot drawing with smoothing, a band of extremes, marks, a readout and a picture.

import { ABSENT, general } from "./formats.js";
import { color } from "./palette.js";
import { aligned, smoothed } from "./series.js";

const uPlot = window.uPlot;
const FONT = `11px ${getComputedStyle(document.body).fontFamily}`;
const GHOST = 0.28;
const BAND = 0.16;
const DESCRIBED_EVERY_MS = 5000;
// Steps and tokens are whole: between them there is nothing to label.
const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
const X_STEPS = { step: WHOLE_STEPS, tokens: WHOLE_STEPS, time: TIME_STEPS };
const svgNamespace = "http://www.w3.org/2000/svg";

// A curve: { label, token, columns(axis) -> {x, value, min, max, step}, format, smooth, points }
export class Chart {
  constructor(element, curves, view, options = {}) {
    this.element = element;
    this.curves = curves;
    this.view = view;
    this.options = options;
    this.title = element.querySelector("h3").textContent;
    this.plotNode = element.querySelector("[data-plot]");
    this.waiting = element.querySelector("[data-wait]");
    this.placeNode = element.querySelector("[data-place]");
    this.countsNode = element.querySelector("[data-counts]");
    this.plot = null;
    this.visible = true;
    this.dirty = true;
    this.describedAt = 0;
    this.legend = this.makeLegend(element.querySelector("[data-legend]"));
    element.querySelector("[data-picture]")?.addEventListener("click", () => this.savePicture());
    new ResizeObserver(() => this.resize()).observe(this.plotNode);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.visible && this.dirty) this.draw();
    }, { rootMargin: "600px" }).observe(element);
  }

  makeLegend(node) {
    return this.curves.map((curve) => {
      const entry = document.createElement("span");
      const value = document.createElement("b");
      value.textContent = ABSENT;
      if (this.curves.length > 1 || this.options.named) {
        const swatch = document.createElementNS(svgNamespace, "svg");
        swatch.setAttribute("viewBox", "0 0 14 8");
        swatch.setAttribute("aria-hidden", "true");
        const line = document.createElementNS(svgNamespace, "path");
        line.setAttribute("d", "M0 4h14");
        line.setAttribute("stroke", `var(${curve.token})`);
        line.setAttribute("stroke-width", "2.5");
        if (curve.dash) line.setAttribute("stroke-dasharray", "4 3");
        swatch.append(line);
        const name = document.createElement("span");
        name.className = "legend-name";
        name.textContent = curve.label;
        name.title = curve.label;
        entry.append(swatch, name);
      }
      entry.append(value);
      node.append(entry);
      return value;
    });
  }

  // ------------------------------------------------------------------ drawing

  // A chart that nobody sees is drawn when it comes into view.
  refresh() {
    this.dirty = true;
    if (this.visible) this.draw();
  }

  draw() {
    this.dirty = false;
    const drawn = this.curves.map((curve) => curve.columns(this.view.axis));
    const points = drawn.reduce((sum, columns) => sum + columns.x.length, 0);
    this.waiting.hidden = points > 0;
    if (!points && this.options.waitingWords) this.waiting.textContent = this.options.waitingWords();
    if (!points) return;
    const data = this.layers(drawn);
    if (!this.plot) this.make(data);
    else this.update(data);
    this.tell(drawn);
  }

  // Each curve gives four rows: smallest, largest, as measured, and smoothed.
  layers(drawn) {
    const rows = this.curves.flatMap((curve, i) => {
      const { x, value, min, max } = drawn[i];
      const beta = curve.smooth ? this.view.smoothing : 0;
      return [
        { x, y: curve.smooth ? min : [] },
        { x, y: curve.smooth ? max : [] },
        { x, y: beta ? value : [] },
        { x, y: beta ? smoothed(value, beta) : value },
      ].map((row) => (row.y.length ? row : { x: [], y: [] }));
    });
    return aligned(rows);
  }

  make(data) {
    const { width, height } = this.plotNode.getBoundingClientRect();
    if (!width) return;
    this.plot = new uPlot(this.settings(width, height), data, this.plotNode);
    this.plot.over.addEventListener("dblclick", () => this.view.resetZoom());
    if (this.view.zoom) this.setRange();
    this.scaleType = this.scaleName();
  }

  update(data) {
    if (this.scaleType !== this.scaleName()) {
      this.plot.destroy();
      this.plot = null;
      this.make(data);
      return;
    }
    this.plot.setData(data, !this.view.zoom);
    if (this.view.zoom) this.setRange();
  }

  setRange() {
    const [min, max] = this.view.zoom;
    this.plot.setScale("x", { min, max });
  }

  // Axis and scale are fixed when a drawing is made: another choice needs another drawing.
  scaleName() {
    return `${this.view.axis} ${this.logarithmic()}`;
  }

  logarithmic() {
    return Boolean(this.options.canBeLogarithmic && this.view.logarithmic);
  }

  settings(width, height) {
    return {
      width,
      height,
      padding: [8, 18, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: this.view.key, scales: ["x", null] },
        drag: { x: true, y: false, setScale: false },
        y: false,
        points: { size: (u, i) => (i % 4 ? 0 : 8), width: (u, i) => (i % 4 ? 0 : 2), stroke: (u, i) => this.strokeOf(i), fill: () => color("--surface") },
        bind: { dblclick: () => null },
        focus: { prox: -1 },
      },
      scales: { x: { time: false }, y: this.yScale() },
      axes: [this.xAxis(), this.yAxis()],
      series: [{}, ...this.curves.flatMap((curve) => this.drawnSeries(curve))],
      bands: this.curves.map((curve, i) => ({ series: [4 * i + 2, 4 * i + 1], fill: () => color(curve.token, BAND) })),
      hooks: {
        setCursor: [() => this.readOut()],
        setSelect: [(u) => this.select(u)],
        draw: [(u) => this.drawMarks(u)],
      },
    };
  }

  strokeOf(index) {
    const curve = this.curves[Math.floor((index - 1) / 4)];
    return color(curve.token);
  }

  drawnSeries(curve) {
    const hidden = { stroke: null, width: 0, points: { show: false }, spanGaps: true };
    // One point alone makes no line: it is shown as a dot.
    const alone = (u, i) => u.data[i].reduce((count, value) => count + (value != null), 0) === 1;
    const line = { spanGaps: true, points: { show: false } };
    const dots = { show: curve.points ? true : alone, size: 6, width: 2, stroke: () => color(curve.token), fill: () => color("--surface") };
    return [
      hidden,
      hidden,
      { ...line, stroke: () => color(curve.token, GHOST), width: 1 },
      { ...line, stroke: () => color(curve.token), width: 1.75, dash: curve.dash, points: dots },
    ];
  }

  yScale() {
    if (this.logarithmic()) return { distr: 3, log: 10, range: (u, low, high) => [low * 0.97, high * 1.03] };
    return { range: (u, low, high) => this.yRange(low, high) };
  }

  yRange(low, high) {
    const fixed = this.options.range?.();
    if (fixed) return [fixed[0], Math.max(fixed[1], high ?? 0)];
    if (low == null) return [0, 1];
    const room = Math.max((high - low) * 0.08, ((this.options.leastSpan ?? 0) - high + low) / 2) || Math.abs(high) * 0.1 || 1;
    return [this.options.fromZero ? 0 : low - room, high + room];
  }

  xAxis() {
    return {
      ...this.axisLook(),
      size: 26,
      gap: 4,
      space: 64,
      ...(X_STEPS[this.view.axis] && { incrs: X_STEPS[this.view.axis] }),
      values: (u, splits) => splits.map((split) => this.view.axisWords(split)),
    };
  }

  yAxis() {
    return {
      ...this.axisLook(),
      size: (u, values) => axisWidth(values),
      gap: 6,
      space: 34,
      ...(this.options.incrs && { incrs: this.options.incrs }),
      values: (u, splits) => axisLabels(splits, this.options.axisFormat ?? (this.logarithmic() ? powerLabel : null)),
    };
  }

  axisLook() {
    return {
      font: FONT,
      stroke: () => color("--chart-axis"),
      grid: { stroke: () => color("--chart-grid"), width: 1 },
      ticks: { show: false },
    };
  }

  drawMarks(plot) {
    for (const mark of this.options.marks?.() ?? []) {
      const x = this.view.place(mark.step);
      if (x == null || x < plot.scales.x.min || x > plot.scales.x.max) continue;
      MARKS[mark.kind](plot, Math.round(plot.valToPos(x, "x", true)), mark);
    }
  }

  resize() {
    const { width, height } = this.plotNode.getBoundingClientRect();
    if (!width || !height) return;
    if (this.plot) this.plot.setSize({ width, height });
    else this.refresh();
  }

  repaint() {
    this.plot?.redraw(false, true);
  }

  select(plot) {
    const { left, width } = plot.select;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (width < 8) return;
    this.view.setZoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  }

  // ------------------------------------------------------------------ telling

  // The values under the cursor, or the newest ones.
  readOut() {
    const { idx } = this.plot.cursor;
    this.curves.forEach((curve, i) => {
      const value = lastKnown(this.plot.data[4 * i + 4], idx ?? this.plot.data[0].length - 1);
      const text = curve.format(value);
      if (this.legend[i].textContent !== text) this.legend[i].textContent = text;
    });
    const place = idx == null ? "" : this.view.placeWords(this.plot.data[0][idx]);
    const measured = idx == null ? "" : this.measured(idx);
    const words = place && measured ? `${place} · ${measured}` : place;
    if (this.placeNode.textContent !== words) this.placeNode.textContent = words;
  }

  measured(index) {
    const value = this.plot.data[3][index];
    return value == null ? "" : `measured ${this.curves[0].format(value)}`;
  }

  tell(drawn) {
    if (this.plot?.cursor.idx == null && this.plot) this.readOut();
    this.countsNode.textContent = this.options.counts?.() ?? "";
    if (Date.now() - this.describedAt < DESCRIBED_EVERY_MS) return;
    this.describedAt = Date.now();
    this.plotNode.setAttribute("aria-label", this.describe(drawn));
  }

  describe(drawn) {
    const parts = this.curves.map((curve, i) => describeCurve(curve, drawn[i], this.view));
    return `${this.title}: ${parts.filter(Boolean).join("; ") || "no points yet"}`;
  }

  // ------------------------------------------------------------------ a picture to keep

  savePicture() {
    if (!this.plot) return;
    const source = this.plot.ctx.canvas;
    const scale = source.width / this.plot.width;
    const canvas = document.createElement("canvas");
    const head = 34 * scale;
    canvas.width = source.width + 24 * scale;
    canvas.height = source.height + head + 12 * scale;
    const context = canvas.getContext("2d");
    context.fillStyle = color("--surface");
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.writeHead(context, scale);
    context.drawImage(source, 12 * scale, head);
    const link = document.createElement("a");
    link.download = `${this.view.name} ${this.title.toLowerCase()}.png`;
    link.href = canvas.toDataURL("image/png");
    link.click();
  }

  writeHead(context, scale) {
    const family = getComputedStyle(document.body).fontFamily;
    context.textBaseline = "middle";
    context.font = `600 ${13 * scale}px ${family}`;
    context.fillStyle = color("--text");
    context.fillText(`${this.title} · ${this.view.name}`, 14 * scale, 18 * scale);
    context.font = `${11 * scale}px ${family}`;
    context.textAlign = "right";
    let right = context.canvas.width - 14 * scale;
    this.curves.toReversed().forEach((curve, i) => {
      const value = this.legend[this.curves.length - 1 - i].textContent;
      const words = `${curve.label} ${value}`;
      context.fillStyle = color(curve.token);
      context.fillText(words, right, 18 * scale);
      right -= context.measureText(words).width + 16 * scale;
    });
  }
}

function lastKnown(values, index) {
  for (let i = index; i >= 0; i -= 1) if (values[i] != null) return values[i];
  return null;
}

function describeCurve(curve, { x, value }, view) {
  if (!value.length) return "";
  let low = 0;
  value.forEach((one, i) => { if (one != null && one < value[low]) low = i; });
  const at = (i) => `${curve.format(value[i])} at ${view.placeWords(x[i])}`;
  return `${curve.label} from ${at(0)} to ${at(value.length - 1)}, lowest ${at(low)}`;
}

function axisWidth(values) {
  const longest = Math.max(0, ...(values ?? []).map((text) => text.length));
  return Math.max(30, longest * 6.2 + 14);
}

// On a logarithmic axis the distance of two labels says nothing about the next two.
function powerLabel(value) {
  return general(value, 3);
}

function axisLabels(splits, format) {
  if (format) return splits.map((split) => (split == null ? "" : format(split)));
  const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
  let digits = 0;
  while (digits < 6 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits += 1;
  return splits.map((split) => (split == null ? "" : split.toFixed(digits)));
}

const MARKS = {
  checkpoint(plot, x) {
    const { ctx, bbox } = plot;
    const unit = devicePixelRatio;
    ctx.fillStyle = color("--text-faint");
    ctx.beginPath();
    ctx.moveTo(x, bbox.top + bbox.height - 5 * unit);
    ctx.lineTo(x - 3.5 * unit, bbox.top + bbox.height);
    ctx.lineTo(x + 3.5 * unit, bbox.top + bbox.height);
    ctx.fill();
  },
  resumed(plot, x) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = color("--tone-busy");
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.restore();
  },
  best(plot, x, { value }) {
    const { ctx } = plot;
    const y = plot.valToPos(value, "y", true);
    ctx.save();
    ctx.strokeStyle = color("--tone-good");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.arc(x, y, 6.5 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.stroke();
    ctx.restore();
  },
};

