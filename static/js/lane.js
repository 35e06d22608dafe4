// One model's text on the playground: asked for, shown as it comes, stopped, replayed and gone on from.

import { copy } from "./clipboard.js";
import { plural, speed } from "./formats.js";
import { socket } from "./live.js";
import { Warmth } from "./modelchoice.js";
import { clipped, goneWords } from "./prompts.js";
import { TokenText } from "./tokentext.js";

const ALTERNATIVES = 6;
const MOST_EVENT_BYTES = 240 * 1024;
const REPORT_EVERY_MS = 250;
const SHOWN_WITH_A_TEXT = ["again", "anew", "continue", "take", "keep-seed"];
let begun = 0;

// Why a prompt cannot be sent, or nothing.
export function promptProblem(prompt) {
  const size = new TextEncoder().encode(JSON.stringify(prompt)).length;
  if (size <= MOST_EVENT_BYTES) return "";
  return `The prompt is too long to be sent: ${Math.ceil(size / 1024)} KiB of at most ${MOST_EVENT_BYTES / 1024}. A model reads only its end.`;
}

export class Lane {
  // page: { settings, onState, onDone(entry), onKeepSeed(seed) }
  constructor(node, page) {
    Object.assign(this, { node, page, id: null, prompt: "", sent: null });
    this.model = node.querySelector("[data-model]");
    this.text = new TokenText(node.querySelector("[data-text]"));
    this.failure = node.querySelector("[data-failure]");
    this.report = node.querySelector("[data-report]");
    this.warmth = new Warmth(this.model, (words) => this.tellWarmth(words), (error) => this.fail({ error }));
    const buttons = { again: () => this.again(), anew: () => this.anew(), continue: () => this.goOn(), "keep-seed": () => page.onKeepSeed(this.sent.seed) };
    for (const [name, act] of Object.entries(buttons)) this.button(name).addEventListener("click", act);
    this.button("retry").addEventListener("click", () => this.retry());
    this.model.addEventListener("change", () => this.tellFailure());
    this.button("take").addEventListener("click", () => copy(this.whole));
  }

  button(name) {
    return this.node.querySelector(`[data-${name}]`);
  }

  // A reader hears which of the models side by side it is at.
  tellNames(place, count) {
    const words = (this.model.selectedOptions[0]?.text ?? "").split(" · ").slice(0, 2).join(" · ");
    this.node.setAttribute("aria-label", `Text of ${words}`);
    this.text.node.setAttribute("aria-label", `Text of ${words}; the left and right arrow keys go from token to token`);
    this.model.setAttribute("aria-label", count > 1 ? `Model ${place} of ${count}` : "Model and checkpoint");
  }

  get writing() {
    return this.node.dataset.state === "writing";
  }

  get whole() {
    return this.prompt + this.text.text;
  }

  // ---------------------------------------------------------------------- asking

  write(prompt, settings) {
    this.show(prompt);
    this.send(prompt, settings);
  }

  show(prompt) {
    this.prompt = prompt;
    const before = document.createElement("span");
    before.className = "written-prompt";
    before.textContent = clipped(prompt);
    this.text.clear(before);
  }

  send(prompt, settings, model = this.model.value) {
    if (this.writing) this.halt();
    this.warmth.stop();
    begun += 1;
    this.id = `text ${begun}`;
    this.text.begin();
    this.sent = { prompt, settings, model, place: this.text.cells.length };
    this.firstAt = null;
    const problem = model ? promptProblem(prompt) : "Choose a model first.";
    if (problem) {
      this.fail({ error: { message: problem, hint: "" } });
      return;
    }
    this.setState("writing", this.warmth.isReady ? "Writing …" : "Getting the model ready …");
    const [runId, checkpoint] = model.split(" ");
    socket.emit("generate", { id: this.id, run_id: runId, checkpoint, prompt, logprobs: ALTERNATIVES, ...settings });
  }

  halt() {
    if (this.writing) socket.emit("cancel", { id: this.id });
  }

  // The same again, to the letter.
  again() {
    const { prompt, settings, model, place, seed } = this.sent;
    this.keepFocus();
    this.text.cutAt(place);
    this.send(prompt, { ...settings, seed: seed ?? settings.seed }, model);
  }

  // After a failure: the same once more, of the model that is chosen now.
  retry() {
    this.keepFocus();
    if (this.sent) {
      this.text.cutAt(this.sent.place);
      this.send(this.sent.prompt, this.sent.settings);
    } else {
      this.tellFailure();
      this.warmth.anew();
    }
  }

  anew() {
    if (!this.page.settings.fit()) return;
    const { prompt, place } = this.sent;
    this.keepFocus();
    this.text.cutAt(place);
    this.send(prompt, { ...this.page.settings.asked(), seed: null });
  }

  goOn() {
    if (!this.page.settings.fit()) return;
    this.keepFocus();
    this.send(this.whole, this.page.settings.asked());
  }

  // Go on from a place with another token in it.
  branch(place, cell) {
    if (!this.page.settings.fit()) return;
    if (this.writing) this.halt();
    this.text.cutAt(place);
    this.text.put(cell);
    this.send(this.whole, this.page.settings.asked());
  }

  // The buttons below a text go while it is written.
  keepFocus() {
    this.text.node.focus({ preventScroll: true });
  }

  // ---------------------------------------------------------------------- what comes

  take({ text, tokens, logprobs }) {
    this.firstAt ??= { tokens, at: performance.now() };
    this.warmth.isReady = true;
    this.text.take(text, logprobs);
    const now = performance.now();
    if (now < (this.reportedAt ?? 0) + REPORT_EVERY_MS) return;
    this.reportedAt = now;
    const seconds = (now - this.firstAt.at) / 1000;
    const pace = seconds > 0.5 ? ` · ${speed((tokens - this.firstAt.tokens) / seconds)}` : "";
    this.report.textContent = `Writing … ${plural(tokens, "token")}${pace}`;
  }

  done({ text, seed, report, unread }) {
    this.text.settle(text);
    this.sent.seed = seed;
    this.setState("done", text ? "" : "The model ended the text at once.", report, unread);
    this.keep(text, report);
  }

  // What came until then is a text too; by its seed it can be had again.
  fail({ error, seed = this.sent?.settings.seed ?? undefined, report = "" }) {
    const text = this.text.text.slice(this.text.start);
    this.text.settle(text);
    if (this.sent) this.sent.seed = seed;
    this.setState(this.sent ? "done" : "ready", report);
    this.tellFailure(error);
    if (this.sent) this.keep(text, report || "broken off");
    if (error.kind === "not_found") this.page.onGone();
  }

  keep(text, report) {
    const { prompt, model, settings, seed } = this.sent;
    if (text) this.page.onDone({ prompt, text, model, seed, settings, report, at: new Date().toISOString() });
  }

  tellFailure({ message, hint } = { message: "", hint: "" }) {
    this.failure.hidden = !message;
    const [what, then] = this.failure.querySelectorAll("[data-words], [data-then]");
    what.textContent = message;
    then.textContent = hint;
  }

  // The list is new: where what failed is not in it any more, say so by its name, and what there is.
  tellGone() {
    const chosen = this.model.selectedOptions[0];
    if (this.failure.hidden || chosen?.dataset.gone === undefined) return;
    const left = [...this.model.options].filter(({ dataset }) => dataset.run === chosen.dataset.run && dataset.gone === undefined);
    this.tellFailure(goneWords(chosen.text, left.map(({ text }) => text)));
  }

  // Show a text that was written before.
  bring({ prompt, text, model, seed, settings, report }) {
    if (this.writing) this.halt();
    this.id = null;
    this.show(prompt);
    this.sent = { prompt, settings, model, place: 0, seed };
    this.text.settle(text);
    this.setState("done", report ?? `seed ${seed}`);
  }

  setState(state, ...words) {
    this.node.dataset.state = state;
    this.tellWarmth("");
    this.tellFailure();
    this.report.replaceChildren(...words.filter(Boolean).map(paragraph));
    for (const name of SHOWN_WITH_A_TEXT) this.button(name).hidden = state !== "done" || !this.text.text;
    this.button("keep-seed").hidden ||= this.sent?.seed === undefined;
    this.page.onState();
  }

  tellWarmth(words) {
    this.node.querySelector("[data-warmth]").textContent = this.writing ? "" : words;
  }

  leave() {
    this.halt();
    this.warmth.stop();
    this.node.remove();
  }
}

function paragraph(words) {
  const node = document.createElement("span");
  node.textContent = words;
  return node;
}
