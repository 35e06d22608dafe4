// The run list: live rows in their places, and moving over them with the keyboard.

import { patch, write } from "./binding.js";
import { watchRuns } from "./live.js";
import { isOn as notificationsAreOn, notifyEnding } from "./notify.js";
import { change, isRenamed, rename } from "./renaming.js";
import { isActive } from "./runstate.js";
import { clearSelection, forget, listenForSelection, select, selectedCount, showSelection } from "./selection.js";
import { onAction } from "./shortcuts.js";
import { growSparkline, loadSparklines } from "./sparklines.js";

const SOON_MS = 150;
const LATER_MS = 5000;
const LEAST_PAUSE_MS = 1500;
const MOVING_SORTS = new Set(["train_loss", "val_loss", "perplexity", "speed", "elapsed"]);
const PARTS = ["pin", "tags", "id"];

const list = document.getElementById("runs");
const known = new Map();

// ---------------------------------------------------------------------- live rows

function rows() {
  return [...list.querySelectorAll("tr[data-run]")];
}

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
  for (const run of runs) {
    noteChange(run);
    patchRow(run);
  }
  if (runs.some(isActive) && placesMove()) refreshIn(LATER_MS);
}, notificationsAreOn);

// What decides whether a run belongs into a view, and where: its numbers apart.
function said(run) {
  return JSON.stringify([run.status, run.paused, run.name, run.pinned, run.archived, run.tags]);
}

function noteChange(run) {
  const row = rowOf(run.run_id);
  const before = known.get(run.run_id) ?? (row && JSON.stringify(JSON.parse(row.dataset.said)));
  const now = said(run);
  known.set(run.run_id, now);
  if (before) notifyEnding({ status: JSON.parse(before)[0] }, run);
  if (before !== now) refreshIn(SOON_MS);
}

function placesMove() {
  const sort = list.querySelector("[data-sort]")?.dataset.sort.replace(/^-/, "");
  return MOVING_SORTS.has(sort) || /[<>=]/.test(document.getElementById("search").value);
}

function patchRow(run) {
  const row = rowOf(run.run_id);
  if (!row) return;
  row.dataset.status = run.status;
  row.toggleAttribute("data-active", isActive(run));
  patch(row, run);
  showName(row, run.name || run.run_id);
  growSparkline(row.querySelector("[data-spark]"), run.train_loss, run.step);
}

function showName(row, title) {
  const link = row.querySelector("[data-open]");
  if (link.textContent !== title && !isRenamed(row)) Object.assign(link, { textContent: title, title });
}

function removeRow(runId) {
  known.delete(runId);
  forget(runId);
  const row = rowOf(runId);
  if (!row) return;
  const hadFocus = row.contains(document.activeElement);
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (hadFocus) neighbour?.querySelector("[data-open]").focus({ preventScroll: true });
  refreshIn(SOON_MS);
}

// ---------------------------------------------------------------------- the server's order

let timer = null;
let dueAt = Infinity;
let pauseUntil = 0;

// Ask which runs belong into this view, and where: soon, but never one question after another.
function refreshIn(milliseconds) {
  const at = Math.max(Date.now() + milliseconds, pauseUntil);
  if (at >= dueAt) return;
  clearTimeout(timer);
  dueAt = at;
  timer = setTimeout(refresh, at - Date.now());
}

async function refresh(address = location.href) {
  const began = Date.now();
  [timer, dueAt] = [null, Infinity];
  const response = await fetch(address, { headers: { "HX-Request": "true" } }).catch(() => null);
  const text = response?.ok ? await response.text() : null;
  pauseUntil = Date.now() + Math.max(LEAST_PAUSE_MS, 10 * (Date.now() - began));
  // Another filter may have been typed meanwhile: its answer is the newer one.
  if (text === null || (address !== location.href && !address.includes("rows="))) return;
  arrange(new DOMParser().parseFromString(`<body>${text}`, "text/html"));
}

function arrange(answer) {
  const [body, there] = [list.querySelector("tbody"), [...answer.querySelectorAll("tr[data-run]")]];
  if (!body !== !there.length) {
    location.reload();
    return;
  }
  if (body) placeRows(body, there);
  for (const id of ["counts", "list-end"]) takeOver(document.getElementById(id), answer.getElementById(id));
  showSelection();
  loadSparklines(list);
}

// Rows stay the nodes that they are; only those out of place are moved, and the focus stays.
function placeRows(body, there) {
  const focused = body.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set(there.map((row) => row.dataset.run));
  for (const row of rows()) if (!wanted.has(row.dataset.run) && !isRenamed(row)) row.remove();
  let place = body.firstElementChild;
  for (const fresh of there) {
    const row = rowOf(fresh.dataset.run);
    if (row) takeParts(row, fresh);
    if (row && row === place) place = place.nextElementSibling;
    else body.insertBefore(row ?? document.adoptNode(fresh), place);
  }
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

function takeParts(row, fresh) {
  row.dataset.said = fresh.dataset.said;
  showName(row, fresh.querySelector("[data-open]").textContent);
  for (const part of PARTS) {
    const [old, now] = [row, fresh].map((one) => one.querySelector(`[data-part=${part}]`));
    if (old.outerHTML === now.outerHTML) continue;
    const hadFocus = old === document.activeElement;
    old.replaceWith(document.adoptNode(now));
    if (hadFocus) now.focus({ preventScroll: true });
  }
}

function takeOver(node, fresh) {
  if (!node || !fresh || node.innerHTML === fresh.innerHTML) return;
  Object.assign(node.dataset, fresh.dataset);
  node.replaceChildren(...fresh.childNodes);
}

async function showMore(link) {
  const last = rows().at(-1);
  history.replaceState(history.state, "", link.href);
  await refresh(link.href);
  last?.nextElementSibling?.querySelector("[data-open]").focus({ preventScroll: true });
}

async function pin(button) {
  const row = button.closest("tr");
  await change(row.dataset.run, { pinned: button.value === "true" });
  await refresh();
}

// ---------------------------------------------------------------------- hands and keys

function current() {
  return document.activeElement?.closest?.("tr[data-run]");
}

function move(by) {
  const all = rows();
  const index = all.indexOf(current());
  const next = all[index < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, index + by))];
  next?.querySelector("[data-open]").focus();
  next?.scrollIntoView({ block: "nearest" });
}

function onClick(event) {
  const pinButton = event.target.closest("[data-part=pin]");
  const more = event.target.closest("[data-more]");
  const renameButton = event.target.closest("[data-rename]");
  if (renameButton) rename(renameButton.closest("tr"));
  if (event.ctrlKey || event.metaKey || !(pinButton || more)) return;
  event.preventDefault();
  if (pinButton) pin(pinButton);
  else showMore(more);
}

function onKey(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by || !current() || event.target.closest(".rename-form") || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  move(by);
}

function tellFilterFault() {
  const fault = document.getElementById("filter-fault");
  const search = document.getElementById("search");
  if (fault.hidden) search.removeAttribute("aria-invalid");
  else search.setAttribute("aria-invalid", "true");
}

if (list) {
  listenForSelection();
  loadSparklines(list);
  tellFilterFault();
  // What was typed is asked for already: to leave the box must not fetch the rows anew, and take
  // the focus from them.
  document.getElementById("search")?.addEventListener("change", (event) => event.stopPropagation());
  list.addEventListener("click", onClick);
  list.addEventListener("keydown", onKey);
  document.addEventListener("htmx:afterSettle", () => {
    tellFilterFault();
    showSelection();
    loadSparklines(list);
  });
  onAction("search", () => document.getElementById("search").select());
  onAction("next", () => move(1));
  onAction("previous", () => move(-1));
  onAction("open", () => false);
  onAction("select", () => {
    const box = current()?.querySelector("input[name=run]");
    if (box) select(box, !box.checked);
  });
  onAction("rename", () => {
    const row = current();
    if (row) rename(row);
  });
  onAction("compare", () => {
    if (selectedCount() > 1) document.querySelector("#bulk [value=compare]").click();
  });
  onAction("clear-selection", clearSelection);
}
