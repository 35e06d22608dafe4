// The page that scores a text: sent as it stands to one model or two, shown token by token.

import { Alternatives } from "./alternatives.js";
import { grouped, plural } from "./formats.js";
import { socket } from "./live.js";
import { awaitModels, keepModels, Warmth } from "./modelchoice.js";
import { figuresOf } from "./scorefigures.js";
import { markField } from "./settings.js";
import { onAction } from "./shortcuts.js";
import { keepTint } from "./tint.js";
import { TokenText } from "./tokentext.js";

const form = document.getElementById("score");
const narrow = matchMedia("(max-width: 760px)");
let begun = 0;

class Scoring {
  constructor() {
    this.most = Number(form.dataset.most);
    this.report = document.querySelector("[data-report]");
    this.results = document.getElementById("scores");
    this.scoreButton = form.querySelector("[data-score]");
    this.haltButton = form.querySelector("[data-halt]");
    this.asked = [];
    this.alternatives = new Alternatives(document.getElementById("alternatives"));
    const words = (text) => { if (!this.busy) this.report.textContent = text; };
    this.warmths = [form.model, form.other].map((select) => new Warmth(select, words, (error) => this.fail(error)));
    keepModels(() => [form.model, form.other]);
    keepTint(this.results.querySelector("[data-tint]"), this.results);
    this.bind();
    this.listen();
    this.count();
  }

  get busy() {
    return this.asked.some(({ state }) => state === "scoring");
  }

  // ---------------------------------------------------------------------- asking

  score() {
    if (this.busy || !markField(form.text, this.problem())) {
      if (!this.busy) this.show([]);
      form.text.focus();
      return;
    }
    for (const warmth of this.warmths) warmth.stop();
    const models = [...new Set([form.model.value, form.other.value])].filter(Boolean);
    this.asked = models.map((model) => this.ask(model));
    this.say("Scoring …");
    this.showButtons();
  }

  problem() {
    const { length } = form.text.value;
    if (!length) return "Paste a text, or write one.";
    return length <= this.most ? "" : `The text has ${grouped(length)} characters; at most ${grouped(this.most)} fit here.`;
  }

  ask(model) {
    begun += 1;
    const [runId, checkpoint] = model.split(" ");
    const label = [...form.model.options].find(({ value }) => value === model)?.text ?? model;
    const one = { id: `score ${begun}`, model, label, state: "scoring" };
    socket.emit("score", { id: one.id, run_id: runId, checkpoint, text: form.text.value, alternatives: Number(form.dataset.alternatives) });
    return one;
  }

  halt() {
    for (const { id, state } of this.asked) if (state === "scoring") socket.emit("cancel", { id });
    this.asked = [];
    this.show([]);
    this.say("Stopped.");
    this.showButtons();
  }

  // ---------------------------------------------------------------------- what comes

  progress(one, { done, total, unit }) {
    const of = total ? ` of ${grouped(total)}` : "";
    this.say(`Scoring … ${grouped(done)}${of} ${unit}`);
    one.state = "scoring";
  }

  done(one, told) {
    Object.assign(one, { state: "done", told });
    this.finish();
  }

  failed(one, error) {
    one.state = "failed";
    this.finish();
    this.fail(error, one.label);
  }

  // What there is is shown when all have ended.
  finish() {
    if (this.busy) return;
    this.say("");
    this.show(this.asked.filter(({ state }) => state === "done"));
    this.showButtons();
  }

  show(scored) {
    this.results.hidden = scored.length === 0;
    if (!scored.length) return;
    this.results.querySelector("[data-figures]").replaceChildren(figuresOf(scored));
    this.results.querySelector("[data-texts]").replaceChildren(...scored.map((one) => this.text(one)));
    this.say(reportOf(scored));
    if (narrow.matches) this.results.scrollIntoView({ block: "start" });
  }

  text({ label, told }) {
    const node = document.getElementById("scored-text").content.firstElementChild.cloneNode(true);
    node.querySelector("h2").textContent = label;
    const text = node.querySelector("[data-text]");
    text.setAttribute("aria-label", `${label}, token by token; the arrow keys go through it`);
    const tokens = new TokenText(text);
    tokens.show(told.tokens);
    this.alternatives.watch(tokens);
    return node;
  }

  // ---------------------------------------------------------------------- the page

  say(words) {
    this.report.textContent = words;
  }

  fail({ message, hint }, label = "") {
    const words = document.createElement("strong");
    words.className = "failed-words";
    words.textContent = `${label ? `${label}: ` : ""}${message} ${hint}`.trim();
    this.report.replaceChildren(words);
  }

  // The one button takes the place of the other, and its focus.
  showButtons() {
    const { busy } = this;
    const had = document.activeElement === (busy ? this.scoreButton : this.haltButton);
    this.scoreButton.hidden = busy;
    this.haltButton.hidden = !busy;
    if (had) (busy ? this.haltButton : this.scoreButton).focus();
  }

  count() {
    form.querySelector("[data-length]").textContent = `${plural(form.text.value.length, "character")} of at most ${grouped(this.most)}`;
  }

  bind() {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.score();
    });
    form.text.addEventListener("input", () => {
      markField(form.text, "");
      this.count();
    });
    this.haltButton.addEventListener("click", () => this.halt());
    onAction("write", () => this.score());
    onAction("halt", () => {
      if (this.alternatives.isOpen) this.alternatives.close();
      else if (this.busy) this.halt();
      else return false;
      return true;
    });
  }

  listen() {
    const hear = (event, act) => socket.on(event, (message) => {
      if (this.warmths.some((warmth) => warmth[event]?.(message))) return;
      const one = this.asked.find(({ id }) => id === message.id);
      if (one) act(one, message);
    });
    hear("progress", (one, message) => this.progress(one, message));
    hear("done", (one, message) => this.done(one, message));
    hear("failed", (one, { error }) => this.failed(one, error));
    socket.on("disconnect", () => {
      if (!this.busy) return;
      this.halt();
      this.fail({ message: "The connection broke off.", hint: "Score it again." });
    });
  }
}

// The first figure of each model, named by its checkpoint, or by its run too where there are two.
function reportOf(scored) {
  const runs = new Set(scored.map(({ model }) => model.split(" ")[0]));
  const name = ({ label }) => label.split(" · ").slice(runs.size > 1 ? 0 : 1, 2).join(" · ");
  const values = scored.map((one) => one.told.figures[0].value + (scored.length > 1 ? ` (${name(one)})` : ""));
  return `Scored: ${scored[0].told.figures[0].label} ${values.join(" and ")}.`;
}

if (form) new Scoring();
else awaitModels();
