// Which runs of the list are selected: kept by id, so that sorting, filtering and paging lose none,
// for as long as the tab is open. The archive has a selection of its own.

import { show, write } from "./binding.js";
import { grouped } from "./formats.js";

const archive = new URLSearchParams(location.search).get("archived") === "true";
const KEY = archive ? "selected archived runs" : "selected runs";
const bulk = document.getElementById("bulk");
const list = document.getElementById("runs");
const selected = new Set();
// Selected on an earlier page, and not yet known to be in this list any more.
const unsure = new Set(remembered());
let lastBox = null;

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}

function remember() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...selected, ...unsure]));
  } catch {
    // Storage may be forbidden or full: the selection then lasts as long as the page.
  }
}

function boxes() {
  return [...list.querySelectorAll("input[name=run]")];
}

export function selectedCount() {
  return selected.size;
}

export function forget(runId) {
  unsure.delete(runId);
  if (selected.delete(runId)) showSelection();
}

export function clearSelection() {
  selected.clear();
  unsure.clear();
  showSelection();
}

// Take up what was selected before, but for runs that have been deleted or have left this list.
async function recallSelection() {
  const undo = document.querySelector("#messages [data-flash=undo] [name=runs]");
  for (const runId of undo?.value.split(" ") ?? []) unsure.delete(runId);
  takeUp(boxes().map((box) => box.value));
  if (!unsure.size) return;
  const there = await matching(archive ? "?archived=true" : "");
  if (!there) return;
  takeUp(there);
  unsure.clear();
  remember();
}

function takeUp(runIds) {
  for (const runId of runIds) if (unsure.delete(runId)) selected.add(runId);
  showSelection();
}

async function matching(query) {
  const response = await fetch(`/runs/matching${query}`).catch(() => null);
  return response?.ok ? (await response.json()).runs : null;
}

export function showSelection() {
  remember();
  const rows = [];
  for (const box of boxes()) {
    box.checked = selected.has(box.value);
    const row = box.closest("tr");
    row.toggleAttribute("data-selected", box.checked);
    if (box.checked) rows.push(row);
  }
  show(bulk, selected.size > 0);
  tellCount(rows.length);
  allowActions(rows);
  showHead(rows.length);
}

function tellCount(shown) {
  const elsewhere = selected.size - shown;
  const more = elsewhere ? `, ${grouped(elsewhere)} not shown` : "";
  write(bulk.querySelector("[data-bulk-words]"), `${grouped(selected.size)} selected${more}`);
}

// What none of the selected runs allows cannot be pressed; of those that are not shown nobody knows.
function allowActions(rows) {
  const active = rows.filter((row) => row.hasAttribute("data-active")).length;
  const unknown = selected.size > rows.length;
  const allow = (name, allowed, why) => {
    const button = bulk.querySelector(`[${name}]`);
    button.disabled = !allowed;
    button.title = allowed ? "" : why;
  };
  allow("data-needs", selected.size > 1, "Select two runs or more");
  allow("data-needs-active", unknown || active > 0, "None of them is active");
  allow("data-needs-ended", unknown || active < rows.length, "Active runs cannot be deleted: stop them first");
}

function showHead(chosen) {
  const all = list.querySelector("[data-select-all]");
  const total = Number(document.getElementById("list-end")?.dataset.total ?? 0);
  const whole = chosen > 0 && chosen === boxes().length;
  const matching = bulk.querySelector("[data-select-matching]");
  show(matching, whole && total > selected.size);
  write(matching, `Select all ${grouped(total)} that match`);
  if (!all) return;
  all.checked = whole;
  all.indeterminate = chosen > 0 && !whole;
}

export function select(box, checked, range = false) {
  const all = boxes();
  const [from, to] = [all.indexOf(range && lastBox?.isConnected ? lastBox : box), all.indexOf(box)].sort((a, b) => a - b);
  for (const one of all.slice(from, to + 1)) {
    if (checked) selected.add(one.value);
    else selected.delete(one.value);
  }
  lastBox = box;
  showSelection();
}

async function selectMatching() {
  for (const runId of await matching(location.search) ?? []) selected.add(runId);
  showSelection();
}

export function listenForSelection() {
  recallSelection();
  list.addEventListener("click", (event) => {
    if (event.target.name === "run") select(event.target, event.target.checked, event.shiftKey);
    if (event.target.dataset?.selectAll === undefined) return;
    const checked = event.target.checked;
    for (const box of boxes()) {
      if (checked) selected.add(box.value);
      else selected.delete(box.value);
    }
    showSelection();
  });
  bulk.querySelector("[data-select-matching]").addEventListener("click", selectMatching);
  bulk.addEventListener("submit", (event) => {
    bulk.elements.runs.value = [...selected].join(" ");
    bulk.elements.back.value = location.pathname + location.search;
    // Compared runs stay selected for the way back; a question may still be answered by no.
    if (!["compare", "delete"].includes(event.submitter?.value)) {
      selected.clear();
      unsure.clear();
      remember();
    }
  });
}
