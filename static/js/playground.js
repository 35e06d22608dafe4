// The playground: text that streams as it is written, from up to four checkpoints on one prompt.

import { Alternatives } from "./alternatives.js";
import { announce } from "./announcer.js";
import { copy } from "./clipboard.js";
import { promptProblem } from "./lane.js";
import { choose, Lanes } from "./lanes.js";
import { link, modelsOf } from "./link.js";
import { socket } from "./live.js";
import { awaitModels, keepModels } from "./modelchoice.js";
import { markField, Settings } from "./settings.js";
import { onAction } from "./shortcuts.js";
import { TextHistory } from "./texthistory.js";
import { keepTint } from "./tint.js";

const MOST_SEED = 2 ** 31;
const ADDRESS_AFTER_MS = 400;

const narrow = matchMedia("(max-width: 760px)");

const form = document.getElementById("playground");

class Playground {
  constructor() {
    this.writeButton = form.querySelector("[data-write]");
    this.haltButton = form.querySelector("[data-halt]");
    this.history = new TextHistory(document.getElementById("history"), (entry) => this.bring(entry), nameOf);
    this.settings = new Settings(form, () => this.changed());
    this.lanes = new Lanes(document.getElementById("lanes"), form.querySelector("[data-lane-tabs]"), {
      settings: this.settings,
      onState: () => this.showButtons(),
      onDone: (entry) => this.history.add(entry),
      onGone: () => this.lookForModels?.(),
      onKeepSeed: (seed) => this.keepSeed(seed),
    });
    this.alternatives = new Alternatives(document.getElementById("alternatives"), (text, place, cell) => this.lanes.of(text.node).branch(place, cell));
    for (const model of modelsOf(location.search).slice(1)) this.lanes.addFresh(model);
    for (const lane of this.lanes) this.alternatives.watch(lane.text);
    this.lookForModels = keepModels(() => [...this.lanes].map((lane) => lane.model), () => {
      this.lanes.showTabs();
      for (const lane of this.lanes) lane.tellGone();
    });
    this.bind();
    this.listen();
    keepTint(form.querySelector("[data-tint]"), this.lanes.node);
    this.ready = true;
  }

  // ---------------------------------------------------------------------- writing

  // Side by side all draw by one seed, so that nothing but the models differs.
  write() {
    const fits = markField(form.prompt, promptProblem(form.prompt.value));
    if (!fits) form.prompt.focus();
    if (!fits || !this.settings.fit()) return;
    const asked = this.settings.asked();
    if (this.lanes.all.length > 1) asked.seed ??= Math.floor(Math.random() * MOST_SEED);
    for (const lane of this.lanes) lane.write(form.prompt.value, asked);
    if (narrow.matches) this.lanes.shown.node.scrollIntoView({ block: "start" });
  }

  halt() {
    for (const lane of this.lanes) lane.halt();
  }

  escape() {
    if (this.alternatives.isOpen) this.alternatives.close();
    else if (this.lanes.writing) this.halt();
    else return false;
    return true;
  }

  addLane() {
    this.lanes.addFresh();
    this.alternatives.watch(this.lanes.all.at(-1).text);
    this.changed();
  }

  // The one button takes the place of the other, and its focus.
  showButtons() {
    if (!this.lanes) return;
    const { writing } = this.lanes;
    const had = document.activeElement === (writing ? this.writeButton : this.haltButton);
    this.writeButton.hidden = writing;
    this.haltButton.hidden = !writing;
    if (had) (writing ? this.haltButton : this.writeButton).focus();
  }

  keepSeed(seed) {
    this.settings.set({ seed });
    announce(`Seed ${seed} is in the settings`);
  }

  bring(entry) {
    form.prompt.value = entry.prompt;
    this.settings.restore({ ...entry.settings, seed: entry.seed });
    const [first] = this.lanes;
    choose(first.model, entry.model);
    first.warmth.ask();
    first.bring(entry);
    this.changed();
    first.text.node.focus();
  }

  // ---------------------------------------------------------------------- the address

  address(prompt) {
    const models = [...this.lanes].map((lane) => lane.model.value);
    return link({ path: location.pathname, prompt, models, settings: this.settings.typedValues(), usual: this.settings.usual() });
  }

  // A prompt that is too long for an address is left out of it.
  changed() {
    if (!this.ready) return;
    clearTimeout(this.due);
    form.querySelector("[data-link-note]").textContent = "";
    this.due = setTimeout(() => {
      const address = this.address(form.prompt.value) ?? this.address(null);
      if (address) history.replaceState(null, "", address);
    }, ADDRESS_AFTER_MS);
  }

  async copyLink() {
    const whole = this.address(form.prompt.value);
    const address = whole ?? this.address(null);
    await copy(new URL(address ?? location.pathname, location.origin).href);
    const words = whole ? "The link is copied: it carries the prompt, the models and the settings." : "The prompt is too long for a link: the one that is copied carries the models and the settings alone.";
    form.querySelector("[data-link-note]").textContent = words;
  }

  // ---------------------------------------------------------------------- the page

  bind() {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.write();
    });
    form.addEventListener("input", () => this.changed());
    form.prompt.addEventListener("input", () => markField(form.prompt, ""));
    this.haltButton.addEventListener("click", () => this.halt());
    onAction("write", () => this.write());
    onAction("halt", () => this.escape());
    onAction("add-lane", () => this.addLane());
    onAction("copy-link", () => this.copyLink());
    onAction("usual", () => this.settings.set(this.settings.usual()));
  }

  listen() {
    const lane = ({ id }) => [...this.lanes].find((one) => one.id === id);
    const warmth = (name, message) => [...this.lanes].some((one) => one.warmth[name](message));
    socket.on("token", (message) => lane(message)?.take(message));
    socket.on("done", (message) => { if (!warmth("done", message)) lane(message)?.done(message); });
    socket.on("failed", (message) => { if (!warmth("failed", message)) lane(message)?.fail(message); });
    socket.on("disconnect", () => {
      const error = { message: "The connection broke off.", hint: "What came until then is kept." };
      for (const one of this.lanes) if (one.writing) one.fail({ error });
    });
  }
}

// The run and the checkpoint of a model that can be chosen; of one that cannot, its id.
function nameOf(model) {
  const option = [...form.querySelector("[data-model]").options].find(({ value }) => value === model);
  return option ? option.text.split(" · ").slice(0, 2).join(" · ") : (model ?? "");
}

if (form) new Playground();
else awaitModels();
