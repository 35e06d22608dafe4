// What was written before, kept in this browser: brought back, forgotten one by one or all, and for as
// long as the page stands brought back from that too.

import { age, plural } from "./formats.js";
import { promptEnd, writtenWith } from "./prompts.js";

const MOST_KEPT = 50;
const MOST_SHOWN_CHARACTERS = 220;
const STORE = "playground";

export class TextHistory {
  // onBring(entry): show a text again, with all that it was written with.
  // nameOf(model): how the page names a model, as far as it knows it.
  constructor(section, onBring, nameOf) {
    Object.assign(this, { section, onBring, nameOf });
    this.list = section.querySelector("[data-history]");
    this.note = section.querySelector("[data-forgotten]");
    this.forgotten = null;
    section.querySelector("[data-forget]").addEventListener("click", () => this.forgetAll());
    section.querySelector("[data-undo]").addEventListener("click", () => this.undo());
    // Another tab writes into the same storage.
    addEventListener("storage", ({ key }) => { if (key === STORE) this.show(); });
    this.show();
  }

  add(entry) {
    keep([entry, ...kept()].slice(0, MOST_KEPT));
    this.show();
  }

  forget(index) {
    const entries = kept();
    this.replace(entries.toSpliced(index, 1), entries);
    (this.list.children[Math.min(index, entries.length - 2)]?.querySelector("[data-delete]") ?? this.undoButton()).focus();
  }

  forgetAll() {
    this.replace([], kept());
    this.undoButton().focus();
  }

  replace(entries, before) {
    this.forgotten = before;
    keep(entries);
    this.note.querySelector("span").textContent = `${plural(before.length - entries.length, "text")} forgotten.`;
    this.show();
  }

  undo() {
    keep(this.forgotten);
    this.forgotten = null;
    this.show();
    this.section.querySelector("h2").focus();
  }

  undoButton() {
    return this.section.querySelector("[data-undo]");
  }

  show() {
    const entries = kept();
    this.section.hidden = entries.length === 0 && this.forgotten === null;
    this.section.querySelector("[data-forget]").hidden = entries.length === 0;
    this.list.hidden = entries.length === 0;
    this.note.hidden = this.forgotten === null;
    this.list.replaceChildren(...entries.map((entry, index) => this.item(entry, index)));
  }

  item(entry, index) {
    const node = document.createElement("li");
    const text = document.createElement("span");
    text.className = "event-text";
    const words = part("written-text", shortened(entry.text));
    const before = part("", promptEnd(entry.prompt));
    before.title = `${plural(entry.prompt.length, "character")} of prompt`;
    words.prepend(before);
    text.append(words, part("faint tiny", writtenWith(entry, this.nameOf(entry.model))));
    const when = document.createElement("time");
    Object.assign(when, { className: "faint tiny", dateTime: entry.at, title: entry.at, textContent: age(entry.at) });
    const back = button("Bring back", () => this.onBring(entry));
    back.title = "The same text, model, prompt, settings and seed";
    back.setAttribute("aria-label", `Bring back: ${promptEnd(entry.prompt)}`);
    const away = button("Delete", () => this.forget(index));
    away.dataset.delete = "";
    away.setAttribute("aria-label", `Delete: ${entry.prompt.slice(-40)}`);
    node.append(text, when, back, away);
    return node;
  }
}

function part(kind, words) {
  const node = document.createElement("span");
  Object.assign(node, { className: kind, textContent: words });
  return node;
}

function button(words, act) {
  const node = document.createElement("button");
  Object.assign(node, { type: "button", className: "button button-quiet button-small", textContent: words });
  node.addEventListener("click", act);
  return node;
}

function shortened(text) {
  return text.length > MOST_SHOWN_CHARACTERS ? `${text.slice(0, MOST_SHOWN_CHARACTERS)}…` : text;
}

// The storage is also written by other versions, and by hand: what cannot be shown is left out.
function kept() {
  try {
    const entries = JSON.parse(localStorage.getItem(STORE) ?? "[]");
    return Array.isArray(entries) ? entries.filter((one) => typeof one?.prompt === "string" && typeof one.text === "string") : [];
  } catch {
    return [];
  }
}

// A storage that is full keeps fewer, the newest; one that is forbidden keeps none.
function keep(entries) {
  for (let count = entries.length; ; count = Math.floor(count / 2)) {
    try {
      localStorage.setItem(STORE, JSON.stringify(entries.slice(0, count)));
      return;
    } catch {
      if (count === 0) return;
    }
  }
}
