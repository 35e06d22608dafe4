// Writes what is new into the nodes that stand for it; no node is ever replaced.

import { age, FORMATS } from "./formats.js";
import { isActive, percentDone, percentWords, phaseSentence, placeWords, rowNote, sinceWord, statusWord, stepsWords, timeCell } from "./runstate.js";

const looks = JSON.parse(document.getElementById("status-looks")?.textContent ?? "{}");

export function write(node, text) {
  if (node && node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node && node.hidden === visible) node.hidden = !visible;
}

export function patch(root, run) {
  for (const node of root.querySelectorAll("[data-field]")) patchField(node, run[node.dataset.field]);
  for (const node of root.querySelectorAll("[data-live-status]")) patchStatus(node, statusWord(run));
  for (const node of root.querySelectorAll("[data-when]")) {
    show(node, node.dataset.when.split(" ").includes(run.status));
  }
  for (const node of root.querySelectorAll("[data-queued]")) show(node, run.queue != null);
  for (const node of root.querySelectorAll("[data-place]")) write(node, placeWords(run));
  for (const node of root.querySelectorAll("[data-note]")) patchNote(node, rowNote(run));
  for (const node of root.querySelectorAll("[data-since]")) write(node, sinceWord(run));
  for (const node of root.querySelectorAll("[data-time]")) write(node, timeCell(run));
  for (const node of root.querySelectorAll("[data-steps]")) write(node, stepsWords(run));
  for (const node of root.querySelectorAll("[data-phase]")) write(node, phaseSentence(run, looks));
  patchProgress(root, run);
}

function patchField(node, value) {
  if (node.dataset.age !== undefined) {
    if (value && node.dataset.age !== value) {
      node.dataset.age = value;
      node.title = value;
      node.dateTime = value;
      write(node, age(value));
    }
    return;
  }
  // Until it is known, what the page was made with stands.
  if (value == null && node.dataset.untilKnown !== undefined) return;
  write(node, FORMATS[node.dataset.format](value));
  if (typeof value === "string" || node.dataset.format === "text") {
    if (value) show(node, true);
    if (value && node.title) node.title = value;
  } else if (value != null) {
    node.title = value;
  }
}

function patchStatus(node, status) {
  if (node.dataset.status === status) return;
  const look = looks[status];
  node.dataset.status = status;
  node.dataset.tone = look.tone;
  node.title = look.meaning;
  node.querySelector("use").setAttribute("href", `#status-${status}`);
  write(node.querySelector("[data-status-word]"), look.word);
}

function patchNote(node, found) {
  write(node, found?.[0] ?? "");
  node.title = found?.[1] ?? "";
  show(node, found != null);
}

function patchProgress(root, run) {
  const share = percentDone(run);
  for (const bar of root.querySelectorAll("[data-progress]")) {
    // Without a value the bar is indeterminate, which a run that ended or waits must not be.
    if (share != null) bar.value = share;
    else if (isActive(run) && !run.queue) bar.removeAttribute("value");
    else bar.value = 0;
  }
  for (const node of root.querySelectorAll("[data-progress-words]")) write(node, percentWords(share));
  for (const node of root.querySelectorAll("[data-progress-row]")) show(node, isActive(run) && !run.queue);
}

export function toneOf(status) {
  return looks[status].tone;
}

// Let times grow old.
export function keepAges(root) {
  setInterval(() => {
    for (const node of root.querySelectorAll("[data-age]")) write(node, age(node.dataset.age));
  }, 5000);
}
