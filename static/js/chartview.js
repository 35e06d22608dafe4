// What all charts of a page share: axis, smoothing, zoom, kept in the address so that a reload, the
// back button and a shared link show the same.

import { count, duration, fixed, grouped } from "./formats.js";

const USUAL = { axis: "step", smoothing: 0.6, logarithmic: false, zoom: null };
const AXES = ["step", "tokens", "time", "epoch"];

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
    this.translate = (value) => value;
    this.onZoom = () => {};
    this.read();
    addEventListener("themechange", () => this.charts.forEach((chart) => chart.repaint()));
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

  axisWords(value) {
    return AXIS_WORDS[this.axis](value);
  }

  placeWords(value) {
    return PLACE_WORDS[this.axis](value);
  }

  // Where a step lies on the axis.
  place(step) {
    return this.axis === "step" ? step : this.translate(step, "step", this.axis);
  }

  // ------------------------------------------------------------------ the address

  read() {
    const address = new URLSearchParams(location.search);
    const number = (name, usual) => (address.has(name) && Number.isFinite(Number(address.get(name))) ? Number(address.get(name)) : usual);
    this.axis = AXES.includes(address.get("x")) ? address.get("x") : USUAL.axis;
    this.smoothing = Math.min(0.99, Math.max(0, number("smooth", USUAL.smoothing)));
    this.logarithmic = address.get("log") === "1";
    const [from, to] = [number("from", null), number("to", null)];
    this.zoom = from != null && to != null && from < to ? [from, to] : null;
  }

  write() {
    const address = new URL(location.href);
    const put = (name, value, usual) => {
      if (value === usual || value == null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    };
    put("x", this.axis, USUAL.axis);
    put("smooth", String(this.smoothing), String(USUAL.smoothing));
    put("log", this.logarithmic ? "1" : null, null);
    put("from", this.zoom && String(Number(this.zoom[0].toPrecision(7))), null);
    put("to", this.zoom && String(Number(this.zoom[1].toPrecision(7))), null);
    history.replaceState(history.state, "", address);
  }

  // ------------------------------------------------------------------ the tools

  bindTools(tools) {
    this.tools = tools;
    const { axis, smoothing, logarithmic } = this;
    tools.querySelector(`[name=x][value=${axis}]`).checked = true;
    tools.querySelector("[name=smooth]").value = smoothing;
    tools.querySelector("[name=log]").checked = logarithmic;
    this.showTools();
    tools.addEventListener("input", (event) => this.choose(event.target));
  }

  choose(control) {
    if (control.name === "x") this.changeAxis(control.value);
    if (control.name === "smooth") this.smoothing = Number(control.value);
    if (control.name === "log") this.logarithmic = control.checked;
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
