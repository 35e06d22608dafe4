// What the page of a run tells above its figures: its error, its warnings and its notices. A warning
// says when it happened, and can be put away in this browser.

import { show, write } from "./binding.js";
import { age } from "./formats.js";
import { hintWords } from "./runstate.js";

export class RunMessages {
  constructor(box, runId) {
    this.box = box;
    this.key = `dismissed ${runId}`;
    this.dismissed = new Set(this.read());
    this.times = new Map();
    box.addEventListener("click", ({ target }) => {
      const message = target.closest("[data-dismiss]")?.closest("[data-told]");
      if (message) this.dismiss(message);
    });
    this.hideDismissed();
  }

  read() {
    try {
      return JSON.parse(localStorage.getItem(this.key) ?? "[]");
    } catch {
      return []; // Storage is forbidden, or holds something else.
    }
  }

  dismiss(message) {
    this.dismissed.add(wordsOf(message));
    try {
      localStorage.setItem(this.key, JSON.stringify([...this.dismissed]));
    } catch {
      // Storage may be forbidden: it is put away for as long as the page stands.
    }
    const next = message.nextElementSibling?.querySelector("[data-dismiss]");
    this.hideDismissed();
    (next ?? document.querySelector("h1")).focus();
  }

  hideDismissed() {
    for (const message of this.box.querySelectorAll("[data-told]")) show(message, !this.dismissed.has(wordsOf(message)));
    this.showBox();
  }

  // Warnings stand before notices.
  update(run) {
    const error = document.getElementById("error");
    write(error.querySelector("[data-error=message]"), run.error?.message ?? "");
    write(error.querySelector("[data-error=hint]"), hintWords(run));
    show(error.querySelector("[data-error=data]"), run.error?.kind === "data");
    error.dataset.tone = run.status === "interrupted" ? "warning" : "bad";
    show(error, Boolean(run.error));
    this.add("warning", run.warnings, this.box.querySelector("[data-told=notice]"));
    this.add("notice", run.notices, null);
    this.hideDismissed();
  }

  add(kind, messages, before) {
    const known = new Set([...this.box.querySelectorAll(`[data-told=${kind}]`)].map(wordsOf));
    for (const words of messages.filter((told) => !known.has(told))) {
      const node = document.getElementById(kind).content.cloneNode(true);
      write(node.querySelector("[data-words]"), words);
      this.box.insertBefore(node, before);
    }
    this.tellTimes();
  }

  // An event with the same words says when it happened.
  happened(events) {
    for (const { message, at } of events) this.times.set(message, at);
    this.tellTimes();
  }

  tellTimes() {
    for (const message of this.box.querySelectorAll("[data-told]")) {
      const at = this.times.get(wordsOf(message));
      const node = message.querySelector("time");
      if (!at || !node || node.dataset.age === at) continue;
      Object.assign(node, { dateTime: at, title: at, textContent: age(at) });
      node.dataset.age = at;
    }
  }

  showBox() {
    show(this.box, this.box.querySelector(".message:not([hidden])") != null);
  }
}

function wordsOf(message) {
  return message.querySelector("[data-words]").textContent.trim();
}
