// The choices of a model on a page: they follow what runs save, without losing what was chosen, and
// what is chosen is got ready.

import { fetchJson } from "./fetching.js";
import { socket, watchRuns } from "./live.js";

const AFTER_NEWS_MS = 3000;
let asked = 0;

// Keep the options of selects up to date, and return what does so at once. onNews(models): they are new.
export function keepModels(selects, onNews = () => {}) {
  let due = null;
  const look = async () => {
    due = null;
    if (document.hidden) return;
    const chosen = selects().map((select) => `run=${encodeURIComponent(runOf(select.value))}`);
    const answer = await fetchJson(`/playground/models?${chosen.join("&")}`);
    if (!answer) return;
    for (const select of selects()) renew(select, answer.models);
    tellFirst(answer.models);
    onNews(answer.models);
  };
  const now = () => {
    clearTimeout(due);
    look();
  };
  const soon = () => { due ??= setTimeout(look, AFTER_NEWS_MS); };
  watchRuns(document.body.dataset.since, soon);
  document.addEventListener("visibilitychange", soon);
  return now;
}

// On a page that had no model to choose: come back when there is one.
export function awaitModels() {
  keepModels(() => [], (models) => {
    if (models.some(({ options }) => options.length)) location.reload();
  });
}

// The run that was asked for has saved its first checkpoint.
function tellFirst(models) {
  const message = document.querySelector("[data-waiting]");
  const run = models.find(({ run_id: runId }) => runId === message?.dataset.waiting);
  if (run?.options.length) message.hidden = true;
}

function runOf(model) {
  return model.split(" ")[0];
}

// Only when something is new: a list that is open closes when it is replaced.
function renew(select, models) {
  const now = JSON.stringify(models);
  if (select.dataset.told === now) return;
  select.dataset.told = now;
  const chosen = select.selectedOptions[0];
  const groups = models.map(group);
  const fixed = [...select.children].filter((child) => child instanceof HTMLOptionElement && child.value === "");
  select.replaceChildren(...fixed, ...groups);
  select.value = chosen?.value ?? "";
  // What was chosen and is gone stays chosen, and cannot be chosen anew.
  if (chosen?.value && select.value !== chosen.value) {
    select.prepend(chosen);
    if (chosen.dataset.gone === undefined) chosen.text += " · gone";
    chosen.dataset.gone = "";
    chosen.disabled = true;
    chosen.selected = true;
  }
  if (!select.value && !fixed.length) select.selectedIndex = [...select.options].findIndex(({ disabled }) => !disabled);
}

function group({ run_id: runId, title, heading, options }) {
  const node = document.createElement("optgroup");
  node.label = heading;
  node.append(...options.map((one) => {
    const option = new Option(one.label, one.value);
    option.title = one.title;
    Object.assign(option.dataset, { run: runId, step: one.step });
    return option;
  }));
  if (!options.length) {
    const none = new Option(`${title} · no checkpoint yet`, "");
    none.disabled = true;
    node.append(none);
  }
  return node;
}

// ---------------------------------------------------------------------- ready when it is needed

// Gets the model of one choice ready while its page is looked at. tell(words): how far that is.
export class Warmth {
  constructor(select, tell, fail) {
    Object.assign(this, { select, tell, fail });
    this.id = null;
    this.model = null;
    this.isReady = false;
    select.addEventListener("change", () => this.ask());
    document.addEventListener("visibilitychange", () => this.ask());
    socket.on("connect", () => this.anew());
    this.ask();
  }

  anew() {
    this.model = null;
    this.ask();
  }

  ask() {
    const model = this.select.value;
    if (document.hidden || !socket.connected || !model || model === this.model) return;
    this.stop();
    asked += 1;
    Object.assign(this, { model, id: `model ${asked}`, isReady: false });
    const [runId, checkpoint] = model.split(" ");
    this.tell("Getting the model ready …");
    socket.emit("warm", { id: this.id, run_id: runId, checkpoint });
  }

  // Say whether a message was about this.
  done({ id }) {
    if (id !== this.id) return false;
    this.id = null;
    this.isReady = true;
    this.tell("");
    return true;
  }

  failed({ id, error }) {
    if (id !== this.id) return false;
    this.id = null;
    // All places are taken: it will be got ready when it is asked to write.
    if (error.kind === "busy") this.tell("");
    else this.fail(error);
    return true;
  }

  stop() {
    if (this.id) socket.emit("cancel", { id: this.id });
    this.id = null;
  }
}
