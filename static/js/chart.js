// One chart: a uPlot drawing with smoothing, a band of extremes, marks and a readout; by pointer and
// by keyboard; as a picture, a file and a table.

import { axisLabels, axisWidth, labelSpace, logarithmicSplits, powerLabel, X_STEPS } from "./axes.js";
import { legendEntry, tableOf } from "./chartparts.js";
import { countsWords, csvText, fileName, summary, tableRows } from "./describing.js";
import { count } from "./formats.js";
import { aboveZero, layers, ROWS } from "./layers.js";
import { drawMark, legend as legendOf, marksNear } from "./marks.js";
import { color } from "./palette.js";
import { pictureOf, saveCanvas, saveText } from "./picture.js";
import { firstAbove } from "./series.js";
import { KEY_ZOOM, panned, zoomed } from "./viewport.js";

const uPlot = window.uPlot;
const FONT = `11px ${getComputedStyle(document.body).fontFamily}`;
const GHOST = 0.28;
const BAND = 0.16;
const DESCRIBED_EVERY_MS = 5000;
const KEY_PAN = 0.25;
const SMALLEST_DRAG_PX = 8;
const KEYS = "Arrow keys move along the curve, Shift with them moves the part in view, plus and minus zoom, Escape shows the whole.";

// A curve: { label, token, columns(axis) -> {x, value, min, max}, format, smooth, points, dash,
// counts() -> {drawn, there} }
export class Chart {
  constructor(element, curves, view, options = {}) {
    this.element = element;
    this.curves = curves;
    this.view = view;
    this.options = options;
    this.title = element.querySelector("h3").textContent;
    this.plotNode = element.querySelector("[data-plot]");
    this.waiting = element.querySelector("[data-wait]");
    this.legendNode = element.querySelector("[data-legend]");
    this.placeNode = element.querySelector("[data-place]");
    this.marksNode = element.querySelector("[data-marks]");
    this.countsNode = element.querySelector("[data-counts]");
    this.saidNode = element.querySelector("[data-said]");
    this.tableNode = element.querySelector("[data-chart-table]");
    this.plot = null;
    this.drawn = [];
    this.visible = true;
    this.dirty = true;
    this.describedAt = 0;
    this.makeLegend();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.plotNode);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.visible && this.dirty) this.draw();
    }, { rootMargin: "600px" }).observe(element);
  }

  // Other runs' curves come and go when a person says so; only then is the drawing made anew.
  setCurves(curves) {
    this.curves = curves;
    this.makeLegend();
    this.plot?.destroy();
    this.plot = null;
    this.refresh();
  }

  makeLegend() {
    const named = this.curves.length > 1 || this.options.named;
    const entries = this.curves.map((curve) => legendEntry(curve, named));
    this.legend = entries.map((entry) => entry.querySelector("b"));
    this.legendNode.replaceChildren(...entries);
  }

  // ------------------------------------------------------------------ drawing

  // A chart that nobody sees is drawn when it comes into view.
  refresh() {
    this.dirty = true;
    if (this.visible) this.draw();
  }

  draw() {
    this.dirty = false;
    this.drawn = this.curves.map((curve) => this.columnsOf(curve));
    const points = this.drawn.reduce((sum, columns) => sum + columns.x.length, 0);
    this.waiting.hidden = points > 0;
    if (!points && this.options.waitingWords) this.waiting.textContent = this.options.waitingWords();
    if (!points) return;
    const data = layers(this.drawn);
    if (!this.plot) this.make(data);
    else this.update(data);
    this.tell();
  }

  columnsOf(curve) {
    const columns = curve.columns(this.view.axis);
    const shown = this.view.logarithmicAcross ? aboveZero(columns) : columns;
    return { ...shown, beta: curve.smooth ? this.view.smoothing : 0 };
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
    return `${this.view.axis} ${this.logarithmic()} ${this.view.logarithmicAcross}`;
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
        points: { size: (u, i) => (i % ROWS ? 0 : 8), width: (u, i) => (i % ROWS ? 0 : 2), stroke: (u, i) => this.strokeOf(i), fill: () => color("--surface") },
        bind: { dblclick: () => null, mousedown: (u, target, handler) => (event) => (event.shiftKey ? this.grab(event) : handler(event)) },
        focus: { prox: -1 },
      },
      scales: { x: this.xScale(), y: this.yScale() },
      axes: [this.xAxis(), this.yAxis()],
      series: [{}, ...this.curves.flatMap((curve) => this.drawnSeries(curve))],
      bands: this.curves.map((curve, i) => ({ series: [ROWS * i + 2, ROWS * i + 1], fill: () => color(curve.token, BAND) })),
      hooks: {
        setCursor: [() => this.readOut()],
        setSelect: [(u) => this.select(u)],
        draw: [(u) => this.drawMarks(u)],
      },
    };
  }

  strokeOf(index) {
    return color(this.curves[Math.floor((index - 1) / ROWS)].token);
  }

  drawnSeries(curve) {
    // The edges of the band are drawn too: a spike of one step is narrower than any area.
    const edge = { stroke: () => color(curve.token, GHOST), width: 1, points: { show: false }, spanGaps: true };
    // One point alone makes no line: it is shown as a dot.
    const alone = (u, i) => u.data[i].reduce((number, value) => number + (value != null), 0) === 1;
    const dots = { show: curve.points ? true : alone, size: 6, width: 2, stroke: () => color(curve.token), fill: () => color("--surface") };
    return [edge, edge, edge, { spanGaps: true, stroke: () => color(curve.token), width: 1.75, dash: curve.dash, points: dots }];
  }

  xScale() {
    return { time: false, distr: this.view.logarithmicAcross ? 3 : 1, range: (u, low, high) => (low === high ? [low * 0.9, high * 1.1 || 1] : [low, high]) };
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
    const { axis, logarithmicAcross } = this.view;
    const steps = X_STEPS[axis];
    return {
      ...this.axisLook(),
      size: 20,
      gap: 4,
      space: (u, i, low, high, pixels) => labelSpace(axis, pixels),
      ...(steps && { incrs: steps }),
      ...(logarithmicAcross && { splits: (u, i, low, high) => logarithmicSplits(axis, [low, high], u.bbox.width / devicePixelRatio), filter: (u, splits) => splits }),
      values: (u, splits) => splits.map((split) => (split == null ? "" : this.view.axisWords(split))),
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

  marks() {
    return (this.options.marks?.() ?? []).filter((mark) => this.view.place(mark) != null);
  }

  drawMarks(plot) {
    for (const mark of this.marks()) {
      const x = this.view.place(mark);
      if (x >= plot.scales.x.min && x <= plot.scales.x.max) drawMark(plot, Math.round(plot.valToPos(x, "x", true)), mark);
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

  // ------------------------------------------------------------------ moving about

  listen() {
    this.plotNode.setAttribute("aria-description", KEYS);
    this.plotNode.addEventListener("keydown", (event) => {
      if (this.plot && !event.ctrlKey && !event.metaKey && !event.altKey && this.press(event.key, event.shiftKey)) {
        event.preventDefault();
        event.stopPropagation();
      }
    });
    this.plotNode.addEventListener("wheel", (event) => this.turn(event), { passive: false });
    const onClick = (name, act) => this.element.querySelector(`[${name}]`)?.addEventListener("click", act);
    onClick("data-picture", () => this.savePicture());
    onClick("data-csv", () => this.saveTable());
    onClick("data-table", (event) => this.switchTable(event.currentTarget));
  }

  // What a key does on a chart that has the focus; false for one that does nothing here.
  press(key, shift) {
    const sign = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (sign && shift) this.view.setZoom(panned(this.view.zoom, sign * KEY_PAN, this.bounds()));
    else if (sign) this.moveCursor(sign);
    else if (key === "Home" || key === "End") this.placeCursor(this.ends()[key === "Home" ? 0 : 1]);
    else if (key === "+" || key === "=") this.zoom(KEY_ZOOM);
    else if (key === "-") this.zoom(1 / KEY_ZOOM);
    else if (key === "Escape" && this.view.zoom) this.view.resetZoom();
    else return false;
    return true;
  }

  zoom(factor, around = this.cursorX()) {
    this.view.setZoom(zoomed(this.view.zoom, around, factor, this.bounds()));
  }

  bounds() {
    const [xs] = this.plot.data;
    return [xs[0], xs.at(-1)];
  }

  cursorX() {
    const { min, max } = this.plot.scales.x;
    const { idx } = this.plot.cursor;
    return idx == null ? (min + max) / 2 : this.plot.data[0][idx];
  }

  // The first and the last point in view.
  ends() {
    const [xs] = this.plot.data;
    const { min, max } = this.plot.scales.x;
    const last = xs.findLastIndex((x) => x <= max);
    return [Math.max(0, xs.findIndex((x) => x >= min)), last < 0 ? xs.length - 1 : last];
  }

  moveCursor(by) {
    const [first, last] = this.ends();
    const index = (this.plot.cursor.idx ?? (by > 0 ? first - 1 : last + 1)) + by;
    this.placeCursor(Math.min(last, Math.max(first, index)));
  }

  placeCursor(index) {
    const left = this.plot.valToPos(this.plot.data[0][index], "x");
    this.plot.setCursor({ left, top: this.plot.over.clientHeight / 2 });
    this.saidNode.textContent = [this.view.placeWords(this.plot.data[0][index]), ...this.curves.map((curve, i) => `${curve.label} ${this.legend[i].textContent}`)].join(", ");
  }

  // Sideways moves along, with Ctrl held it zooms; else the page scrolls.
  turn(event) {
    if (!this.plot || !(event.ctrlKey || (this.view.zoom && Math.abs(event.deltaX) > Math.abs(event.deltaY)))) return;
    event.preventDefault();
    if (event.ctrlKey) this.zoom(event.deltaY > 0 ? 1.25 : 0.8);
    else this.view.setZoom(panned(this.view.zoom, event.deltaX / this.plot.over.clientWidth, this.bounds()));
  }

  // With Shift held the part in view is dragged along.
  grab(event) {
    event.preventDefault();
    let from = event.clientX;
    const move = ({ clientX }) => {
      this.view.setZoom(panned(this.view.zoom, (from - clientX) / this.plot.over.clientWidth, this.bounds()));
      from = clientX;
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
  }

  select(plot) {
    const { left, width } = plot.select;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (width < SMALLEST_DRAG_PX) return;
    this.view.setZoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  }

  // ------------------------------------------------------------------ telling

  // The values as measured under the cursor, or the newest ones in view.
  readOut() {
    const { idx } = this.plot.cursor;
    this.curves.forEach((curve, i) => write(this.legend[i], curve.format(lastKnown(this.measured(i), idx ?? this.newestInView()))));
    const told = idx == null ? [] : [this.view.placeWords(this.plot.data[0][idx]), this.smoothedWords(idx), ...this.marksAt()];
    write(this.placeNode, told.filter(Boolean).join(" · "));
  }

  newestInView() {
    const [xs] = this.plot.data;
    return (this.view.zoom ? firstAbove(xs, this.view.zoom[1]) : xs.length) - 1;
  }

  // The row of a curve that is not smoothed; without smoothing there is but one.
  measured(i) {
    return this.plot.data[ROWS * (i + 1) - (this.drawn[i].beta ? 1 : 0)];
  }

  smoothedWords(index) {
    const value = this.drawn[0].beta ? this.plot.data[ROWS][index] : null;
    return value == null ? "" : `smoothed ${this.curves[0].format(value)}`;
  }

  marksAt() {
    const positionOf = (mark) => this.plot.valToPos(this.view.place(mark), "x");
    return marksNear(this.marks(), this.plot.cursor.left, positionOf);
  }

  tell() {
    if (this.plot && this.plot.cursor.idx == null) this.readOut();
    write(this.countsNode, this.counts());
    write(this.marksNode, legendOf(this.marks()));
    const part = `${this.view.axis} ${this.view.zoom}`;
    if (this.describedPart === part && Date.now() - this.describedAt < DESCRIBED_EVERY_MS) return;
    Object.assign(this, { describedAt: Date.now(), describedPart: part });
    this.plotNode.setAttribute("aria-label", this.describe());
    if (this.tableNode && !this.tableNode.hidden) this.fillTable();
  }

  // Of the curve that has the most points.
  counts() {
    const all = this.curves.map((curve) => curve.counts?.()).filter(Boolean).sort((a, b) => b.there - a.there);
    return all.length ? countsWords(all[0].drawn, all[0].there, count) : "";
  }

  // What is drawn, with the names and formats of the curves.
  shown() {
    return this.curves.map((curve, i) => ({
      label: curve.label,
      format: curve.format,
      ...this.drawn[i],
      smooth: this.drawn[i].beta ? this.smoothedOf(i) : null,
    }));
  }

  smoothedOf(i) {
    return this.plot.data[ROWS * (i + 1)].filter((value) => value != null);
  }

  describe() {
    return summary(this.title, this.shown(), (x) => this.view.placeWords(x));
  }

  switchTable(button) {
    const show = this.tableNode.hidden;
    this.tableNode.hidden = !show;
    button.setAttribute("aria-pressed", String(show));
    button.closest("details").open = false;
    if (!show) return;
    this.fillTable();
    this.tableNode.focus();
  }

  fillTable() {
    const head = [this.view.axisName(), ...this.curves.map(({ label }) => label)];
    const curves = this.drawn.map((columns, i) => ({ ...columns, points: this.curves[i].points }));
    const cells = (values) => values.map((value, i) => (value == null ? "" : this.curves[i].format(value)));
    const rows = tableRows(this.view.axis, curves, this.view.zoom).map(({ x, values }) => [this.view.exactWords(x), ...cells(values)]);
    this.tableNode.replaceChildren(tableOf(head, rows));
  }

  // ------------------------------------------------------------------ to keep

  fileName(ending) {
    return fileName(`${this.view.name} ${this.title.toLowerCase()}`, this.view.axis, this.view.zoom, ending);
  }

  savePicture() {
    if (!this.plot) return;
    const legend = this.curves.map((curve, i) => ({ words: `${curve.label} ${this.legend[i].textContent}`, token: curve.token, dash: curve.dash }));
    const names = { xName: this.view.axisName(), yName: this.options.unit ?? this.title };
    saveCanvas(pictureOf(this.plot, { title: `${this.title} · ${this.view.name}`, legend, ...names }), this.fileName("png"));
  }

  saveTable() {
    if (!this.plot) return;
    saveText(csvText(this.view.axis, this.shown(), this.view.zoom ?? undefined), this.fileName("csv"), "text/csv");
  }
}

function write(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

function lastKnown(values, index) {
  for (let i = index; i >= 0; i -= 1) if (values[i] != null) return values[i];
  return null;
}
