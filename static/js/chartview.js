// What all charts of a page share: axis, smoothing, zoom, other runs laid over, kept in the address
// so that a reload, the back button and a shared link show the same.

import { clock, count, duration, fixed, grouped } from "./formats.js";
import { onAction } from "./shortcuts.js";
import { KEY_ZOOM } from "./viewport.js";

const USUAL = { axis: "step", smoothing: 0.6 };
const AXES = ["step", "tokens", "time", "epoch"];
const ADDRESS_AFTER_MS = 250;

const AXIS_NAMES = { step: "Step", tokens: "Tokens", time: "Time", epoch: "Epoch" };
const AXIS_WORDS = {
  step: (value) => count(value),
  tokens: (value) => count(value),
  time: (value) => duration(value),
  epoch: (value) => String(Number(value.toFixed(3))),
};
const PLACE_WORDS = {
  step: (value) => `step ${grouped(value)}`,
  tokens: (value) => `${count(value)} tokens`,
  time: (value) => duration(value),
  epoch: (value) => `epoch ${fixed(value, 2)}`,
};

export class ChartView {
  constructor(key, name) {
    this.key = key;
    this.name = name;
    this.charts = [];
    this.scheduled = false;
    this.addressDue = null;
    this.translate = (value) => value;
    this.onZoom = () => {};
    this.read();
    addEventListener("themechange", () => this.charts.forEach((chart) => chart.repaint()));
    // What is zoomed or chosen just before the page is left stands in the address too.
    addEventListener("pagehide", () => this.writeNow());
  }

  add(chart) {
    this.charts.push(chart);
    return chart;
  }

  // Draw all charts once before the next frame, however much came in.
  refresh() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      for (const chart of this.charts) chart.refresh();
    });
  }

  axisName() {
    return AXIS_NAMES[this.axis];
  }

  axisWords(value) {
    return AXIS_WORDS[this.axis](value);
  }

  placeWords(value) {
    return PLACE_WORDS[this.axis](value);
  }

  // In a table two places are told apart to the second.
  exactWords(value) {
    return this.axis === "time" ? clock(value) : this.placeWords(value);
  }

  // Where a mark lies on the axis: where it was measured, or else where its step lies.
  place({ step, at }) {
    if (this.axis === "step") return step;
    return at?.[this.axis] ?? this.translate(step, "step", this.axis);
  }

  // ------------------------------------------------------------------ the address

  read() {
    const address = new URLSearchParams(location.search);
    const number = (name, usual) => (address.has(name) && Number.isFinite(Number(address.get(name))) ? Number(address.get(name)) : usual);
    this.axis = AXES.includes(address.get("x")) ? address.get("x") : USUAL.axis;
    this.smoothing = Math.min(0.99, Math.max(0, number("smooth", USUAL.smoothing)));
    this.logarithmic = address.get("log") === "1";
    this.logarithmicAcross = address.get("logx") === "1";
    this.overlaid = [...new Set(address.getAll("overlay"))];
    const [from, to] = [number("from", null), number("to", null)];
    this.zoom = from != null && to != null && from < to ? [from, to] : null;
  }

  // Browsers refuse an address that changes at every movement.
  write() {
    clearTimeout(this.addressDue);
    this.addressDue = setTimeout(() => this.writeNow(), ADDRESS_AFTER_MS);
  }

  writeNow() {
    if (this.addressDue == null) return;
    clearTimeout(this.addressDue);
    this.addressDue = null;
    const address = new URL(location.href);
    const put = (name, value, usual) => {
      if (value === usual || value == null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    };
    put("x", this.axis, USUAL.axis);
    put("smooth", String(this.smoothing), String(USUAL.smoothing));
    put("log", this.logarithmic ? "1" : null, null);
    put("logx", this.logarithmicAcross ? "1" : null, null);
    put("from", this.zoom && String(Number(this.zoom[0].toPrecision(7))), null);
    put("to", this.zoom && String(Number(this.zoom[1].toPrecision(7))), null);
    address.searchParams.delete("overlay");
    for (const runId of this.overlaid) address.searchParams.append("overlay", runId);
    history.replaceState(history.state, "", address);
  }

  // As it stands in the address.
  query() {
    this.writeNow();
    return location.search.slice(1);
  }

  // ------------------------------------------------------------------ the tools

  bindTools(tools) {
    this.tools = tools;
    const { axis, smoothing, logarithmic } = this;
    tools.querySelector(`[name=x][value=${axis}]`).checked = true;
    tools.querySelector("[name=smooth]").value = smoothing;
    tools.querySelector("[name=log]").checked = logarithmic;
    tools.querySelector("[name=logx]").checked = this.logarithmicAcross;
    this.showTools();
    tools.addEventListener("input", (event) => this.choose(event.target));
    onAction("log-axis", () => this.switchLogarithmic());
    onAction("zoom-in", () => this.zoomBy(KEY_ZOOM));
    onAction("zoom-out", () => this.zoomBy(1 / KEY_ZOOM));
    onAction("reset-zoom", () => this.resetZoom());
  }

  choose(control) {
    if (control.name === "x") this.changeAxis(control.value);
    else if (control.name === "smooth") this.smoothing = Number(control.value);
    else if (control.name === "log") this.logarithmic = control.checked;
    else if (control.name === "logx") this.logarithmicAcross = control.checked;
    else return;
    this.changed();
  }

  changeAxis(axis) {
    if (this.zoom) this.zoom = this.zoom.map((value) => this.translate(value, this.axis, axis));
    this.axis = axis;
  }

  setZoom(range) {
    this.zoom = range;
    this.changed();
    this.onZoom(range);
  }

  resetZoom() {
    if (!this.zoom) return;
    this.setZoom(null);
  }

  // Zoom all charts at the cursor, or at the middle of what is in view.
  zoomBy(factor) {
    this.charts.find((chart) => chart.plot)?.zoom(factor);
  }

  overlay(runIds) {
    this.overlaid = runIds;
    this.changed();
  }

  switchLogarithmic() {
    this.tools.querySelector("[name=log]").click();
  }

  changed() {
    this.write();
    this.showTools();
    this.refresh();
  }

  showTools() {
    this.tools.querySelector("[data-smooth]").textContent = this.smoothing.toFixed(2);
    this.tools.querySelector("[data-action=reset-zoom]").hidden = !this.zoom;
  }
}
