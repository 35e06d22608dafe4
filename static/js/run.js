// The page of one run: live figures, charts, samples, log, events and checkpoints.

import { patch, show, toneOf, write } from "./binding.js";
import { Chart } from "./chart.js";
import { ChartView } from "./chartview.js";
import { age, count, countdown, fixed, grouped, learningRate, loss, paused, perplexity, silence, size } from "./formats.js";
import { watchRun } from "./live.js";
import { Log } from "./log.js";
import { hintWords, isActive, percentDone, percentWords } from "./runstate.js";
import { Samples } from "./samples.js";
import { History } from "./series.js";
import { onAction, target } from "./shortcuts.js";

const MOST_READINGS = 4000;
const MOST_EVENTS = 300;
const SAVES = new Set(["saved", "saved-again"]);
const MARKS_EXPLAINED = "▲ saved   ○ best   ┆ resumed";

const root = document.getElementById("run");
const page = JSON.parse(document.getElementById("page-data").textContent);
const runId = root.dataset.run;
const title = document.querySelector("h1").textContent;
const history = new History();
const readings = [];
const view = new ChartView(runId, title);
const samples = new Samples(document.getElementById("samples"), history);
const log = new Log(document.getElementById("log"));
let run = page.run;
let marks = [];

// ---------------------------------------------------------------------- charts

const percentage = (value) => (value == null ? "–" : `${Math.round(value)} %`);
const degrees = (value) => (value == null ? "–" : `${Math.round(value)} °C`);
const watts = (value) => (value == null ? "–" : `${Math.round(value)} W`);
const BYTE_STEPS = Array.from({ length: 24 }, (_, i) => 2 ** (20 + i));
const whole = (value) => grouped(value);
const norm = (value) => (value == null ? "–" : fixed(value, 3));

function trained(series, label, token, format, more = {}) {
  return { label, token, format, columns: (axis) => history.drawn(series, axis), series, ...more };
}

function read(field, label, token, format, more = {}) {
  return { label, token, format, columns: (axis) => readingColumns(field, axis), ...more };
}

const CHARTS = {
  loss: {
    curves: [
      trained("train_loss", "Training", "--curve-train", loss, { smooth: true }),
      trained("val_loss", "Validation", "--curve-validation", loss, { points: true }),
    ],
    canBeLogarithmic: true,
    marks: () => marks,
  },
  learning_rate: { curves: [trained("learning_rate", "Learning rate", "--curve-violet", learningRate)], fromZero: true, axisFormat: learningRate },
  grad_norm: { curves: [trained("grad_norm", "Gradient norm", "--curve-teal", norm, { smooth: true })], fromZero: true },
  throughput: { curves: [trained("tokens_per_second", "Tokens a second", "--curve-green", count, { smooth: true })], fromZero: true, axisFormat: count },
  perplexity: { curves: [trained("val_word_perplexity", "Word perplexity", "--curve-validation", perplexity, { points: true })], axisFormat: count, awaits: "evaluation" },
  gpu_utilization: { curves: [read("gpu_utilization", "GPU use", "--curve-green", percentage)], range: () => [0, 100], axisFormat: percentage },
  gpu_memory: { curves: [read("gpu_memory_bytes", "GPU memory", "--curve-pink", size)], range: () => [0, newest("gpu_memory_total_bytes") ?? 0], incrs: BYTE_STEPS, axisFormat: size },
  gpu_temperature: { curves: [read("gpu_temperature_c", "Temperature", "--curve-red", degrees)], leastSpan: 20, axisFormat: whole },
  gpu_power: { curves: [read("gpu_power_w", "Power", "--curve-gold", watts)], fromZero: true, axisFormat: whole },
  cpu: { curves: [read("cpu_percent", "Processor", "--curve-teal", percentage)], range: () => [0, 100], axisFormat: percentage },
  memory: {
    curves: [read("ram_bytes", "Machine", "--curve-violet", size), read("process_ram_bytes", "This run", "--curve-train", size)],
    fromZero: true,
    incrs: BYTE_STEPS,
    axisFormat: size,
  },
};

function makeCharts() {
  view.translate = (value, from, to) => history.translate(value, from, to);
  view.onZoom = fetchDetails;
  view.bindTools(document.getElementById("chart-tools"));
  for (const element of root.querySelectorAll("[data-chart]")) {
    const { curves, ...options } = CHARTS[element.dataset.chart];
    const counts = () => countsWords(curves[0].series) || (options.marks ? MARKS_EXPLAINED : "");
    const waitingWords = () => waitingFor(element.closest("[data-machine]") ? "reading" : options.awaits ?? "point");
    view.add(new Chart(element, curves, view, { ...options, counts, waitingWords }));
  }
}

function waitingFor(what) {
  return isActive(run) ? `Waiting for the first ${what}` : `This run ended before its first ${what}`;
}

// Say when fewer points are drawn than there are; the band shows their extremes.
function countsWords(series) {
  if (!series) return "";
  const drawn = history.columns(series).step.length;
  const there = history.counts.get(series) ?? drawn;
  return drawn < there ? `${count(drawn)} of ${count(there)} points; the band holds the extremes` : "";
}

// Readings of the machine know only the time; the training curve tells the step.
function readingColumns(field, axis) {
  const known = readings.filter((row) => row[field] != null && row.elapsed_seconds != null);
  const value = known.map((row) => row[field]);
  const seconds = known.map((row) => row.elapsed_seconds);
  const x = axis === "time" || !history.lastStep() ? seconds : seconds.map((at) => history.translate(at, "time", axis));
  return { x, value, min: value, max: value, step: x };
}

function newest(field) {
  return readings.findLast((row) => row[field] != null)?.[field] ?? null;
}

function showMachine() {
  const gpu = readings.some((row) => row.gpu_utilization != null || row.gpu_memory_bytes != null);
  for (const key of ["gpu_utilization", "gpu_memory", "gpu_temperature", "gpu_power"]) {
    show(root.querySelector(`[data-chart=${key}]`), gpu);
  }
  const words = gpu || !readings.length ? run.device_name ?? "" : `${run.device_name ?? "CPU"} · GPU: n/a`;
  write(root.querySelector("[data-machine-words]"), words);
}

// Without an answer the page goes on with what it has: the live connection brings the rest.
async function fetchJson(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => null);
  return response?.ok ? response.json() : null;
}

function drawnPoints() {
  return Math.round(Math.min(4000, Math.max(800, 2 * root.clientWidth)));
}

async function fetchHistory() {
  const [metrics, system] = await Promise.all([
    fetchJson(`/api/runs/${runId}/metrics?points=${drawnPoints()}`),
    fetchJson(`/api/runs/${runId}/system?limit=2000`),
  ]);
  if (metrics) history.merge({ after_step: null, series: metrics.series });
  if (system) addReadings(system.system);
  if (view.zoom) await fetchDetails(view.zoom);
  view.refresh();
  return { metrics, system };
}

async function fetchDetails(range) {
  history.clearDetails();
  if (!range) return;
  const [first, last] = range.map((x) => (view.axis === "step" ? x : history.translate(x, view.axis, "step")));
  const [from, to] = [Math.max(0, Math.floor(first)), Math.ceil(last)];
  const answer = await fetchJson(`/api/runs/${runId}/metrics?from=${from}&to=${to}&points=${drawnPoints()}`);
  if (answer && view.zoom === range) {
    history.setDetails(from, to, answer.series);
    view.refresh();
  }
}

function addReadings(rows) {
  readings.push(...rows);
  readings.splice(0, readings.length - MOST_READINGS);
  showMachine();
}

function setMarks() {
  const judged = history.columns("val_loss");
  const best = judged.value.indexOf(Math.min(...judged.value));
  marks = events.filter(({ step }) => step != null).flatMap(({ kind, step }) => {
    if (SAVES.has(kind)) return [{ kind: "checkpoint", step }];
    return kind === "resumed" ? [{ kind: "resumed", step }] : [];
  });
  if (best >= 0) marks.push({ kind: "best", step: judged.step[best], value: judged.value[best] });
}

// ---------------------------------------------------------------------- what arrives

const events = [];

const handlers = {
  state(message) {
    const before = run;
    run = message;
    patch(root, run);
    document.getElementById("progress").dataset.tone = toneOf(run.status);
    showTitle();
    showError();
    showNotices();
    showUrgent();
    showResumable();
    if (isActive(before) === isActive(run)) return;
    afterChange();
    view.refresh();
  },
  metrics(message) {
    history.merge(message);
    setMarks();
    samples.again();
    view.refresh();
  },
  system({ readings: rows }) {
    addReadings(rows);
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
    if (rows.some(({ kind }) => SAVES.has(kind))) showSaved();
    if (rows.some(({ kind }) => SAVES.has(kind) || kind === "evaluated")) afterChange();
  },
  gone() {
    tellGone();
  },
};

// With the first checkpoint the run can write, and can be resumed once it has ended.
function showSaved() {
  show(root.querySelector("[data-shortcut-target=generate]"), true);
  show(root.querySelector("[data-resumable]"), true);
  showResumable();
}

// What cannot be resumed can only be begun anew.
function showResumable() {
  const lost = !isActive(run) && root.querySelector("[data-resumable]").hidden;
  root.querySelector("[data-clone]").classList.toggle("button-primary", lost);
}

function showTitle() {
  const share = percentDone(run);
  const words = isActive(run) && share != null ? `${percentWords(share)} · ${title}` : title;
  document.title = `${words} · llm-trainer`;
}

function showError() {
  const box = document.getElementById("error");
  write(box.querySelector("[data-error=message]"), run.error?.message ?? "");
  write(box.querySelector("[data-error=hint]"), hintWords(run));
  box.dataset.tone = run.status === "interrupted" ? "warning" : "bad";
  show(box, Boolean(run.error));
  showMessages();
}

// Warnings stand before notices.
function showNotices() {
  const box = document.getElementById("notices");
  const firstNotice = box.querySelector("[data-told=notice]");
  addMessages(box, "warning", run.warnings, firstNotice);
  addMessages(box, "notice", run.notices, null);
  showMessages();
}

function addMessages(box, kind, messages, before) {
  const known = new Set([...box.querySelectorAll(`[data-told=${kind}]`)].map((node) => node.textContent.trim()));
  for (const words of messages.filter((told) => !known.has(told))) {
    const node = document.getElementById(kind).content.cloneNode(true);
    write(node.querySelector(".message-text"), words);
    box.insertBefore(node, before);
  }
}

function showMessages() {
  show(document.getElementById("notices"), Boolean(run.error) || run.warnings.length + run.notices.length > 0);
}

function addEvents(rows) {
  events.push(...rows);
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
  text.textContent = message;
  when.className = "faint tiny";
  Object.assign(when, { dateTime: at, title: at, textContent: age(at) });
  when.dataset.age = at;
  node.append(what, text, when);
  return node;
}

// Tables that the server makes, and the sentence that says what can be done next.
let changeDue = null;
function afterChange() {
  clearTimeout(changeDue);
  changeDue = setTimeout(fetchTables, 400);
}

async function fetchTables() {
  const tables = document.getElementById("checkpoint-tables");
  const response = await fetch(`/runs/${runId}/checkpoints`).catch(() => null);
  if (!response?.ok || tables.contains(document.activeElement)) return;
  tables.innerHTML = await response.text();
  write(root.querySelector("[data-next-step]"), tables.querySelector("[data-next-words]").dataset.nextWords);
}

function tellGone() {
  const box = document.getElementById("error");
  write(box.querySelector("[data-error=message]"), "The folder of this run was deleted (or moved).");
  write(box.querySelector("[data-error=hint]"), "What you see is what was there last. A run that was deleted in the dashboard or with llm-trainer delete can be brought back for a day.");
  show(box, true);
  show(document.getElementById("notices"), true);
  document.getElementById("actions").hidden = true;
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

// ---------------------------------------------------------------------- begin

root.querySelector("[data-only-changed]").addEventListener("change", (event) => {
  root.querySelector("[data-config]").classList.toggle("only-changed", event.target.checked);
});
onAction("earlier", () => samples.move(-1));
onAction("later", () => samples.move(1));
onAction("log-axis", () => view.switchLogarithmic());
onAction("reset-zoom", () => view.resetZoom());
onAction("stop", () => target("stop")?.focus());
onAction("resume", () => target("resume")?.click());
onAction("generate", () => target("generate")?.click());

// For whoever looks from the console.
window.dashboard = { history, view };

makeCharts();
showTitle();
const { metrics, system } = await fetchHistory();
events.push(...(await fetchJson(`/api/runs/${runId}/events?limit=1000`))?.events ?? []);
setMarks();
view.refresh();
watchRun(runId, {
  ...page.cursor,
  ...(metrics?.last_step != null && { after_step: metrics.last_step, after_evaluation_step: metrics.series.val_loss.step.at(-1) ?? -1 }),
  ...(system?.system.length && { after_system: system.system.at(-1).id }),
}, handlers);
