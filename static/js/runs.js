// The run list: live rows, selection for bulk actions, moving with the keyboard.

import { patch, show } from "./binding.js";
import { general } from "./formats.js";
import { watchRuns } from "./live.js";
import { onAction } from "./shortcuts.js";

const SPARK_POINTS = 44;
const SPARK = { width: 88, height: 22, margin: 1.5 };
const list = document.getElementById("runs");
const bulk = document.getElementById("bulk");
const selected = new Set();

// ---------------------------------------------------------------------- live rows

function rowOf(runId) {
  return list?.querySelector(`tr[data-run="${CSS.escape(runId)}"]`);
}

watchRuns(document.body.dataset.since, ({ runs, removed }) => {
  // The page that invites to a first run has no list to put it into.
  if (!list) {
    if (runs.length) location.reload();
    return;
  }
  for (const runId of removed) removeRow(runId);
  for (const run of runs) patchRow(run);
  if (runs.some((run) => !run.archived && !rowOf(run.run_id))) addNewRows();
});

function patchRow(run) {
  const row = rowOf(run.run_id);
  if (!row) return;
  row.dataset.status = run.status;
  patch(row, run);
  const name = row.querySelector("[data-open]");
  const title = run.name || run.run_id;
  if (name.textContent !== title) Object.assign(name, { textContent: title, title });
  growSparkline(row.querySelector("[data-spark]"), run.train_loss, run.step);
}

function removeRow(runId) {
  const row = rowOf(runId);
  if (!row) return;
  selected.delete(runId);
  row.remove();
  showSelection();
}

// The server knows which new runs belong into this view, and where.
let adding = false;
async function addNewRows() {
  if (adding) return;
  adding = true;
  const response = await fetch(location.href, { headers: { "HX-Request": "true" } }).catch(() => null);
  adding = false;
  if (!response?.ok) return;
  const answer = new DOMParser().parseFromString(await response.text(), "text/html");
  const body = list.querySelector("tbody");
  const there = [...answer.querySelectorAll("tr[data-run]")];
  if (!body && there.length) list.replaceChildren(...answer.body.childNodes);
  there.forEach((row, index) => {
    if (!body || rowOf(row.dataset.run)) return;
    body.insertBefore(document.adoptNode(row), body.children[index] ?? null);
  });
}

function growSparkline(svg, value, step) {
  if (!svg || value == null) return;
  const known = svg.dataset.spark.split(" ").filter(Boolean).map((pair) => pair.split(":").map(Number));
  // A resumed run goes back: what lies past its step is void.
  const points = known.filter(([at]) => at < step);
  points.push([step, value]);
  const kept = points.length > 2 * SPARK_POINTS ? points.filter((_, i) => i % 2 !== points.length % 2) : points;
  svg.dataset.spark = kept.map(([at, one]) => `${at}:${general(one, 4)}`).join(" ");
  svg.firstElementChild.setAttribute("points", sparkPoints(kept));
}

function sparkPoints(points) {
  if (points.length < 2) return "";
  const values = points.map(([, value]) => value);
  const [low, first] = [Math.min(...values), points[0][0]];
  const [up, across] = [Math.max(...values) - low || 1, points.at(-1)[0] - first || 1];
  const { width, height, margin } = SPARK;
  return points.map(([step, value]) => {
    const x = margin + ((step - first) / across) * (width - 2 * margin);
    const y = margin + (1 - (value - low) / up) * (height - 2 * margin);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  }).join(" ");
}

// ---------------------------------------------------------------------- selection

function boxes() {
  return [...list.querySelectorAll("input[name=run]")];
}

function showSelection() {
  for (const box of boxes()) {
    box.checked = selected.has(box.value);
    box.closest("tr").toggleAttribute("data-selected", box.checked);
  }
  show(bulk, selected.size > 0);
  bulk.querySelector("[data-bulk-words]").textContent = `${selected.size} selected`;
  bulk.querySelector("[data-needs]").disabled = selected.size < 2;
  const all = list.querySelector("[data-select-all]");
  if (!all) return;
  all.checked = selected.size > 0 && boxes().every((box) => box.checked);
  all.indeterminate = selected.size > 0 && !all.checked;
}

let lastBox = null;
function select(box, checked, range) {
  const all = boxes();
  const [from, to] = [all.indexOf(range && lastBox ? lastBox : box), all.indexOf(box)].sort((a, b) => a - b);
  for (const one of all.slice(from, to + 1)) {
    if (checked) selected.add(one.value);
    else selected.delete(one.value);
  }
  lastBox = box;
  showSelection();
}

list?.addEventListener("click", (event) => {
  if (event.target.name === "run") select(event.target, event.target.checked, event.shiftKey);
  if (event.target.dataset.selectAll === undefined) return;
  for (const box of boxes()) select(box, event.target.checked, false);
});

// ---------------------------------------------------------------------- keyboard

function current() {
  return document.activeElement?.closest?.("tr[data-run]");
}

function move(by) {
  const rows = [...list.querySelectorAll("tr[data-run]")];
  const index = rows.indexOf(current());
  const next = rows[index < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, index + by))];
  next?.querySelector("[data-open]").focus();
  next?.scrollIntoView({ block: "nearest" });
}

if (list) {
  showSelection();
  list.addEventListener("htmx:afterSwap", showSelection);
  onAction("search", () => document.getElementById("search").select());
  onAction("next", () => move(1));
  onAction("previous", () => move(-1));
  onAction("open", () => false);
  onAction("select", () => {
    const box = current()?.querySelector("input[name=run]");
    if (box) select(box, !box.checked, false);
  });
  onAction("compare", () => {
    if (selected.size > 1) bulk.querySelector("[value=compare]").click();
  });
  onAction("clear-selection", () => {
    selected.clear();
    showSelection();
  });
}
