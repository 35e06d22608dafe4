// The playground: text that streams as it is written, from up to four checkpoints on one prompt.

import { copy } from "./clipboard.js";
import { age, speed } from "./formats.js";
import { socket } from "./live.js";
import { clipped } from "./prompts.js";
import { onAction } from "./shortcuts.js";

const MOST_LANES = 4;
const MOST_REMEMBERED = 50;
const MOST_SHOWN_BEFORE = 220;
const MOST_SEED = 2 ** 31;
const STORE = "playground";
const NUMBERS = ["max_new_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"];
const FINISHED = { length: "reached the length", end_of_text: "ended its text", stop: "met a stop text", cancelled: "stopped" };

const form = document.getElementById("playground");
const lanesNode = document.getElementById("lanes");
const allSettings = form?.querySelector("[data-all-settings]");
const writeButton = form?.querySelector("[data-write]");
const haltButton = form?.querySelector("[data-halt]");
const lanes = [];
let begun = 0;

// ---------------------------------------------------------------------- what is asked for

function settings() {
  const values = Object.fromEntries(NUMBERS.map((name) => [name, Number(form[name].value)]));
  const seed = form.seed.value.trim();
  return {
    ...values,
    // What changes nothing is left out, as the model would.
    top_k: values.top_k || null,
    top_p: values.top_p < 1 ? values.top_p : null,
    min_p: values.min_p || null,
    repetition_penalty: values.repetition_penalty === 1 ? null : values.repetition_penalty,
    seed: seed === "" ? null : Number(seed),
  };
}

// The server checks by the same limits: they stand at each field.
function fits(field) {
  const text = field.value.trim();
  const { low, high, whole, above, usual } = field.dataset;
  if (text === "") return usual === "";
  const value = Number(text);
  const most = high === "inf" ? Infinity : Number(high);
  if (!Number.isFinite(value) || value < Number(low) || value > most) return false;
  return (whole === undefined || Number.isInteger(value)) && !(above !== undefined && value === Number(low));
}

function mark(field) {
  const right = fits(field);
  const error = document.getElementById(`${field.name}-error`);
  if (right) field.removeAttribute("aria-invalid");
  else field.setAttribute("aria-invalid", "true");
  error.hidden = right;
  error.querySelector("span").textContent = right ? "" : field.dataset.allowed;
  return right;
}

// Mark every wrong field, go to the first, and say whether there is none.
function allFit() {
  const wrong = [...form.querySelectorAll("[data-allowed]")].filter((field) => !mark(field));
  if (wrong.length) allSettings.open = true;
  wrong[0]?.focus();
  return wrong.length === 0;
}

class Lane {
  constructor(node) {
    this.node = node;
    this.id = null;
    this.prompt = "";
    this.text = "";
    this.model = node.querySelector("[data-model]");
    this.textNode = node.querySelector("[data-text]");
    this.report = node.querySelector("[data-report]");
    node.querySelector("[data-again]").addEventListener("click", () => this.again());
    node.querySelector("[data-continue]").addEventListener("click", () => this.goOn());
    node.querySelector("[data-take]").addEventListener("click", () => copy(this.prompt + this.text));
    node.querySelector("[data-remove]").addEventListener("click", () => removeLane(this));
  }

  get writing() {
    return this.node.dataset.state === "writing";
  }

  write(prompt, more = {}) {
    if (this.writing) this.halt();
    const [runId, checkpoint] = this.model.value.split(" ");
    begun += 1;
    this.id = `text ${begun}`;
    this.prompt = prompt;
    this.asked = { ...settings(), ...more };
    this.text = "";
    this.begin();
    socket.emit("generate", { id: this.id, run_id: runId, checkpoint, prompt, ...this.asked });
  }

  begin() {
    const before = document.createElement("span");
    before.className = "written-prompt";
    before.textContent = clipped(this.prompt);
    this.written = document.createElement("span");
    this.textNode.replaceChildren(before, this.written);
    this.setState("writing", "Writing …");
  }

  setState(state, words) {
    this.node.dataset.state = state;
    this.report.textContent = words;
    for (const name of ["again", "continue", "take"]) {
      this.node.querySelector(`[data-${name}]`).hidden = state !== "done";
    }
    showButtons();
  }

  take({ text, tokens }) {
    this.text += text;
    this.written.append(text);
    this.report.textContent = `Writing … ${tokens} tokens`;
  }

  done({ text, tokens, tokens_per_second: pace, seed, finish_reason: reason }) {
    // The whole text replaces the pieces: nothing that streamed can have been lost.
    if (text !== this.text) this.written.textContent = text;
    this.text = text;
    const words = pace == null ? "" : ` · ${speed(pace)}`;
    this.setState("done", `${tokens} tokens${words} · seed ${seed} · ${FINISHED[reason] ?? reason}`);
    remember({ prompt: this.prompt, text, model: this.model.value, seed, settings: this.asked, at: new Date().toISOString() });
  }

  failed({ error }) {
    this.setState(this.text ? "done" : "ready", "");
    const words = document.createElement("strong");
    words.className = "failed-words";
    words.textContent = `${error.message} ${error.hint}`.trim();
    this.report.replaceChildren(words);
  }

  halt() {
    if (this.writing) socket.emit("cancel", { id: this.id });
  }

  again() {
    if (allFit()) this.write(this.prompt);
  }

  goOn() {
    if (allFit()) this.write(this.prompt + this.text);
  }
}

// ---------------------------------------------------------------------- lanes

function addLane(node) {
  if (lanes.length >= MOST_LANES) return;
  const lane = new Lane(node);
  lanes.push(lane);
  if (!node.isConnected) {
    lane.model.value = anotherModel().value;
    lanesNode.append(node);
  }
  showLanes();
}

// The oldest checkpoint of the first run that no lane shows yet, else another run, else the same.
function anotherModel() {
  const options = [...lanes[0].model.options];
  const chosen = lanes.filter((lane) => lane.node.isConnected).map((lane) => lane.model.selectedOptions[0]);
  const [first] = chosen;
  const shown = (option) => chosen.some(({ dataset }) => dataset.run === option.dataset.run && dataset.step === option.dataset.step);
  const free = options.filter((option) => !shown(option));
  const older = free.filter((option) => option.dataset.run === first.dataset.run);
  older.sort((a, b) => Number(a.dataset.step) - Number(b.dataset.step));
  return older[0] ?? free[0] ?? first;
}

function freshLane() {
  const node = lanes[0].node.cloneNode(true);
  node.dataset.state = "ready";
  node.querySelector("[data-text]").replaceChildren();
  node.querySelector("[data-report]").textContent = "";
  return node;
}

function removeLane(lane) {
  lane.halt();
  lanes.splice(lanes.indexOf(lane), 1);
  lane.node.remove();
  showLanes();
}

function showLanes() {
  for (const lane of lanes) lane.node.querySelector("[data-remove]").hidden = lanes.length === 1;
  form.querySelector("[data-action=add-lane]").disabled = lanes.length >= MOST_LANES;
}

function showButtons() {
  const writing = lanes.some((lane) => lane.writing);
  writeButton.hidden = writing;
  haltButton.hidden = !writing;
}

function laneOf(id) {
  return lanes.find((lane) => lane.id === id);
}

// ---------------------------------------------------------------------- history in this browser

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}

function keep(entries) {
  try {
    localStorage.setItem(STORE, JSON.stringify(entries));
  } catch {
    // Storage may be full or forbidden: the texts are then only on the page.
  }
}

function remember(entry) {
  keep([entry, ...remembered()].slice(0, MOST_REMEMBERED));
  showHistory();
}

function showHistory() {
  const entries = remembered();
  document.getElementById("history").hidden = entries.length === 0;
  form.querySelector("[data-history]").replaceChildren(...entries.map(historyNode));
}

function historyNode(entry) {
  const node = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-quiet button-small";
  button.textContent = "Bring back";
  button.title = "The same model, prompt, settings and seed";
  button.addEventListener("click", () => takeUp(entry));
  const text = document.createElement("span");
  text.className = "event-text";
  const beginning = document.createElement("b");
  beginning.textContent = clipped(entry.prompt, MOST_SHOWN_BEFORE);
  text.append(beginning, entry.text.length > MOST_SHOWN_BEFORE ? `${entry.text.slice(0, MOST_SHOWN_BEFORE)}…` : entry.text);
  const when = document.createElement("time");
  Object.assign(when, { className: "faint tiny", dateTime: entry.at, title: entry.at, textContent: age(entry.at) });
  node.append(button, text, when);
  return node;
}

function takeUp({ prompt, model, seed, settings: asked }) {
  form.prompt.value = prompt;
  form.seed.value = seed;
  mark(form.seed);
  const usual = { top_k: 0, top_p: 1, min_p: 0, repetition_penalty: 1 };
  for (const name of NUMBERS) setNumber(name, asked[name] ?? usual[name]);
  lanes[0].model.value = model;
  form.prompt.focus();
}

// ---------------------------------------------------------------------- the form

function setNumber(name, value) {
  form[name].value = value;
  form.querySelector(`[data-slider="${name}"]`).value = value;
  mark(form[name]);
}

// Side by side all draw by one seed, so that nothing but the models differs.
function writeAll() {
  if (!allFit()) return;
  const seed = settings().seed ?? (lanes.length > 1 ? Math.floor(Math.random() * MOST_SEED) : null);
  for (const lane of lanes) lane.write(form.prompt.value, { seed });
}

function haltAll() {
  for (const lane of lanes) lane.halt();
}

function bindForm() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    writeAll();
  });
  form.addEventListener("input", ({ target }) => {
    if (target.dataset.slider) setNumber(target.dataset.slider, target.value);
    else if (NUMBERS.includes(target.name)) setNumber(target.name, target.value);
    else if (target.dataset.allowed) mark(target);
  });
  for (const button of form.querySelectorAll("[data-preset]")) {
    button.addEventListener("click", () => {
      for (const [name, value] of Object.entries(JSON.parse(button.dataset.preset))) setNumber(name, value);
    });
  }
  // What was typed before this script came, or kept by the browser, moves the sliders too.
  for (const name of NUMBERS) setNumber(name, form[name].value);
  haltButton.addEventListener("click", haltAll);
  onAction("write", writeAll);
  onAction("halt", () => (lanes.some((lane) => lane.writing) ? haltAll() : false));
  onAction("add-lane", () => addLane(freshLane()));
  onAction("forget", () => {
    keep([]);
    showHistory();
  });
  onAction("usual", () => {
    for (const name of NUMBERS) setNumber(name, form[name].dataset.usual);
    form.seed.value = "";
    mark(form.seed);
  });
}

// On a small screen the settings are folded below the presets, but for one that is wrong.
function foldSettings() {
  const narrow = matchMedia("(max-width: 760px)");
  const fold = () => { allSettings.open = !narrow.matches || allSettings.querySelector("[aria-invalid]") != null; };
  narrow.addEventListener("change", fold);
  fold();
}

function bindSocket() {
  socket.on("token", (message) => laneOf(message.id)?.take(message));
  socket.on("done", (message) => laneOf(message.id)?.done(message));
  socket.on("failed", (message) => laneOf(message.id)?.failed(message));
  socket.on("disconnect", () => {
    const error = { message: "The connection broke off.", hint: "What came until then is kept." };
    for (const lane of lanes.filter((one) => one.writing)) lane.failed({ error });
  });
}

if (form) {
  bindForm();
  foldSettings();
  bindSocket();
  addLane(lanesNode.querySelector("[data-lane]"));
  showHistory();
}
