// The page of one run: live figures, charts, samples, log, events and checkpoints.

import { patch, show, toneOf, write } from "./binding.js";
import { Chart } from "./chart.js";
import { ChartView } from "./chartview.js";
import { Details } from "./details.js";
import { fetchJson } from "./fetching.js";
import { moveOn } from "./flashes.js";
import { age, countdown, eventWords, paused, silence } from "./formats.js";
import { watchRun, watchRuns } from "./live.js";
import { Log } from "./log.js";
import { Readings } from "./machine.js";
import { RunMessages } from "./messages.js";
import { bindNotifyButton, notifyEnding } from "./notify.js";
import { Overlay } from "./overlay.js";
import { isSave, marksOf, runCharts } from "./runcharts.js";
import { RunCurves } from "./runcurves.js";
import { isActive } from "./runstate.js";
import { Samples } from "./samples.js";
import { onAction, target } from "./shortcuts.js";
import { Tab } from "./tab.js";

const MOST_EVENTS = 300;
const ALL_SAMPLES = 5000;
const GPU_CHARTS = ["gpu_utilization", "gpu_memory", "gpu_temperature", "gpu_power"];

const root = document.getElementById("run");
const page = JSON.parse(document.getElementById("page-data").textContent);
const runId = root.dataset.run;
const title = document.querySelector("h1").textContent;
// A bucket holds its extremes: one for each pixel shows all there is.
const points = Math.min(2400, Math.max(800, root.clientWidth));
const view = new ChartView(runId, title);
const curves = new RunCurves(runId, points, () => view.refresh());
const readings = new Readings();
const readingDetails = new Details(
  (from, to, most) => fetchJson(`/api/runs/${runId}/readings?from=${from}&to=${to}&points=${most}`),
  (known) => {
    readings.detail(known);
    view.refresh();
  },
  points,
);
const samples = new Samples(document.getElementById("samples"), curves.history);
const log = new Log(document.getElementById("log"), runId, page.cursor.after_log);
const messages = new RunMessages(document.getElementById("notices"), runId);
const tab = new Tab(title);
const events = [];
const overlaidCharts = [];
let run = page.run;
let marks = [];

// ---------------------------------------------------------------------- charts

const overlay = new Overlay(document.getElementById("overlay"), document.getElementById("overlaid"), {
  runId,
  view,
  points,
  onChange: () => {
    for (const { chart, own } of overlaidCharts) chart.setCurves([...own, ...own.flatMap((curve) => overlay.curvesLike(curve))]);
  },
});

function makeCharts() {
  view.translate = (value, from, to) => curves.history.translate(value, from, to);
  view.onZoom = (range) => {
    look(range);
    overlay.look(range);
  };
  view.bindTools(document.getElementById("chart-tools"));
  const charts = runCharts(curves, readings, () => marks);
  for (const element of root.querySelectorAll("[data-chart]")) {
    const { curves: own, ...options } = charts[element.dataset.chart];
    const waitingWords = () => waitingFor(element.closest("[data-machine]") ? "reading" : options.awaits ?? "point");
    const chart = view.add(new Chart(element, own, view, { ...options, waitingWords }));
    if (own[0].series) overlaidCharts.push({ chart, own });
  }
}

// The finer points of a part of the axis; null: of none.
function look(range) {
  curves.look(range, view.axis);
  const seconds = range?.map((x) => (view.axis === "time" ? x : curves.history.translate(x, view.axis, "time")));
  readingDetails.look(seconds ? [Math.floor(seconds[0]), Math.ceil(seconds[1])] : null, readings.lastSeconds);
}

function waitingFor(what) {
  return isActive(run) ? `Waiting for the first ${what}` : `This run ended before its first ${what}`;
}

function showMachine() {
  const gpu = readings.has("gpu_utilization", "gpu_memory_bytes");
  for (const key of GPU_CHARTS) show(root.querySelector(`[data-chart=${key}]`), gpu);
  const words = gpu || !readings.lastId ? run.device_name ?? "" : `${run.device_name ?? "CPU"} · GPU: n/a`;
  write(root.querySelector("[data-machine-words]"), words);
}

async function fetchHistory() {
  const [metrics, machine] = await Promise.all([curves.load(), fetchJson(`/api/runs/${runId}/readings?points=${points}`)]);
  if (machine) readings.merge(machine.series);
  showMachine();
  if (view.zoom) look(view.zoom);
  view.refresh();
  return metrics;
}

function setMarks() {
  marks = marksOf(events, curves.history.columns("val_loss"));
}

// ---------------------------------------------------------------------- what arrives

const handlers = {
  state(message) {
    const before = run;
    run = message;
    patch(root, run);
    document.getElementById("progress").dataset.tone = toneOf(run.status);
    tab.show(run);
    notifyEnding(before, run);
    if (before.status !== run.status) moveOn();
    messages.update(run);
    showUrgent();
    showResumable();
    if (isActive(before) === isActive(run)) return;
    afterChange();
    view.refresh();
  },
  metrics(message) {
    curves.merge(message);
    setMarks();
    samples.again();
    view.refresh();
  },
  system({ series }) {
    readings.merge(series);
    showMachine();
    view.refresh();
  },
  sample(message) {
    samples.merge(message);
  },
  log(message) {
    log.add(message);
  },
  event({ events: rows }) {
    addEvents(rows);
    if (rows.some(isSave)) showSaved();
    if (rows.some((event) => isSave(event) || event.kind === "evaluated")) afterChange();
  },
  gone() {
    tellGone();
  },
};

// With the first checkpoint the run can write, and can be resumed once it has ended.
function showSaved() {
  show(root.querySelector("[data-shortcut-target=generate]"), true);
  for (const node of root.querySelectorAll("[data-resumable]")) show(node, true);
  showResumable();
}

// What cannot be resumed can only be begun anew.
function showResumable() {
  const lost = !isActive(run) && root.querySelector("[data-resumable]").hidden;
  for (const node of root.querySelectorAll("[data-clone]")) node.classList.toggle("button-primary", lost);
}

function addEvents(rows) {
  events.push(...rows);
  messages.happened(rows);
  const list = root.querySelector("[data-events]");
  list.querySelector("[data-events-empty]")?.remove();
  list.prepend(...rows.map(eventNode).reverse());
  while (list.childElementCount > MOST_EVENTS) list.lastElementChild.remove();
  setMarks();
}

function eventNode({ kind, level, message, at }) {
  const node = document.createElement("li");
  node.dataset.level = level;
  const [what, text, when] = [document.createElement("span"), document.createElement("span"), document.createElement("time")];
  what.className = "faint";
  what.textContent = kind;
  text.className = "event-text";
  text.textContent = eventWords(message);
  when.className = "faint tiny";
  Object.assign(when, { dateTime: at, title: at, textContent: age(at) });
  when.dataset.age = at;
  node.append(what, text, when);
  return node;
}

// Tables that the server makes, and the sentence that says what can be done next. They wait while
// somebody is in them.
let changeDue = null;
function afterChange() {
  clearTimeout(changeDue);
  changeDue = setTimeout(fetchTables, 400);
}

async function fetchTables() {
  const tables = document.getElementById("checkpoint-tables");
  if (tables.contains(document.activeElement)) {
    tables.addEventListener("focusout", afterChange, { once: true });
    return;
  }
  const response = await fetch(`/runs/${runId}/checkpoints`).catch(() => null);
  if (!response?.ok || tables.contains(document.activeElement)) return;
  tables.innerHTML = await response.text();
  write(root.querySelector("[data-next-step]"), tables.querySelector("[data-next-words]").dataset.nextWords);
}

// Nothing is asked of a run that is gone; should it come back, the list says so.
function tellGone() {
  stopWatching();
  document.getElementById("gone").hidden = false;
  document.getElementById("actions").hidden = true;
  document.body.dataset.gone = "";
  watchRuns(new Date().toISOString(), ({ runs }) => {
    if (runs.some((one) => one.run_id === runId)) location.reload();
  });
}

// The server counts the seconds: the clock of this computer may be another.
function showUrgent() {
  const countdownNode = root.querySelector("[data-countdown]");
  write(countdownNode, countdown(run.stop?.seconds_left));
  show(countdownNode, run.stop != null);
  write(root.querySelector("[data-silence]"), silence(run.silent_seconds));
  show(document.getElementById("silence"), run.silent_seconds != null);
  write(root.querySelector("[data-paused]"), run.paused ? paused(run.process.pid) : "");
  show(document.getElementById("paused"), run.paused);
  write(root.querySelector("[data-trouble]"), run.trouble ?? "");
  show(document.getElementById("trouble"), run.trouble != null);
}

// Whoever comes back from a form sees the charts as they were.
function keepView() {
  root.addEventListener("formdata", ({ formData }) => formData.set("view", view.query()));
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link?.pathname === `/runs/${runId}/resume`) link.search = withView(link.search);
  });
}

function withView(search) {
  const query = new URLSearchParams(search);
  if (view.query()) query.set("view", view.query());
  return query;
}

// ---------------------------------------------------------------------- begin

root.querySelector("[data-only-changed]")?.addEventListener("change", (event) => {
  root.querySelector("[data-config]").classList.toggle("only-changed", event.target.checked);
});
keepView();
bindNotifyButton(root.querySelector("[data-notify]"));
onAction("earlier", () => samples.move(-1));
onAction("later", () => samples.move(1));
onAction("stop", () => target("stop")?.focus());
onAction("resume", () => target("resume")?.click());
onAction("generate", () => target("generate")?.click());

// For whoever looks from the console.
window.dashboard = { history: curves.history, view, readings, samples };

makeCharts();
tab.show(run);
const metrics = await fetchHistory();
const [happened, written] = await Promise.all([
  fetchJson(`/api/runs/${runId}/events?limit=1000`),
  fetchJson(`/api/runs/${runId}/samples?limit=${ALL_SAMPLES}`),
]);
events.push(...happened?.events ?? []);
messages.happened(events);
setMarks();
view.refresh();
const told = written?.samples ?? [];
if (told.length) samples.merge({ after_step: null, samples: told });
const stopWatching = watchRun(runId, {
  ...page.cursor,
  ...(metrics?.last_step != null && { after_step: metrics.last_step, after_evaluation_step: metrics.series.val_loss.step.at(-1) ?? -1 }),
  ...(told.length && { after_sample: told.at(-1).id }),
  ...(readings.lastId && { after_system: readings.lastId }),
}, handlers);
overlay.restore();
