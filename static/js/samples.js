// "Watch it learn": what the model wrote at each evaluation, with a slider over time.

import { grouped, plural } from "./formats.js";
import { momentWords } from "./runstate.js";

const PLAY_MS = 900;

export class Samples {
  constructor(panel, history) {
    this.history = history;
    this.moments = [];
    const part = (name) => panel.querySelector(`[data-${name}]`);
    this.words = part("moment-words");
    this.texts = part("moment-texts");
    this.tools = part("samples-tools");
    this.news = part("samples-new");
    this.playButton = part("samples-play");
    this.besideButton = part("samples-beside");
    this.slider = panel.querySelector("input[type=range]");
    this.shown = null;
    this.seen = 0;
    this.playing = null;
    this.slider.addEventListener("input", () => this.chosen());
    this.news.addEventListener("click", () => this.toEnd());
    this.playButton.addEventListener("click", () => (this.playing ? this.pause() : this.play()));
    this.besideButton.addEventListener("click", () => this.switchBeside());
    // Whoever asked for less motion steps through by hand.
    matchMedia("(prefers-reduced-motion: reduce)").addEventListener("change", () => this.pause());
  }

  merge({ after_step: afterStep, samples }) {
    const atEnd = this.atEnd();
    if (afterStep != null) this.moments = this.moments.filter(({ step }) => step <= afterStep);
    this.seen = Math.min(this.seen, this.moments.length);
    const known = this.moments[this.index()]?.step;
    for (const { step, prompt, text } of samples) this.momentAt(step).texts.set(prompt, text);
    this.slider.max = Math.max(0, this.moments.length - 1);
    this.tools.hidden = this.moments.length < 2;
    // Someone who looks at an earlier moment stays there, whatever comes before or after it.
    const stay = this.moments.findIndex(({ step }) => step === known);
    this.slider.value = atEnd || stay < 0 ? this.slider.max : stay;
    this.again();
  }

  index() {
    return Number(this.slider.value);
  }

  atEnd() {
    return !this.playing && this.index() >= this.moments.length - 1;
  }

  momentAt(step) {
    let moment = this.moments.find((one) => one.step === step);
    if (!moment) {
      moment = { step, texts: new Map() };
      this.moments.push(moment);
      this.moments.sort((a, b) => a.step - b.step);
    }
    return moment;
  }

  // ------------------------------------------------------------------ moving

  chosen() {
    this.pause();
    this.again();
  }

  move(by) {
    this.pause();
    this.go(this.index() + by);
  }

  go(index) {
    if (index < 0 || index >= this.moments.length) return;
    this.slider.value = index;
    this.again();
  }

  toEnd() {
    this.pause();
    this.go(this.moments.length - 1);
    this.texts.focus();
  }

  play() {
    if (this.index() >= this.moments.length - 1) this.go(0);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.go(this.index() + 1);
      return;
    }
    this.playing = setInterval(() => {
      this.go(this.index() + 1);
      if (this.index() >= this.moments.length - 1) this.pause();
    }, PLAY_MS);
    this.showPlaying();
  }

  pause() {
    clearInterval(this.playing);
    this.playing = null;
    this.showPlaying();
  }

  showPlaying() {
    this.playButton.setAttribute("aria-label", this.playing ? "Pause" : "Play from first to last");
    this.playButton.title = this.playButton.getAttribute("aria-label");
    this.playButton.setAttribute("aria-pressed", String(Boolean(this.playing)));
  }

  switchBeside() {
    const on = this.besideButton.getAttribute("aria-pressed") !== "true";
    this.besideButton.setAttribute("aria-pressed", String(on));
    this.again();
  }

  // ------------------------------------------------------------------ showing

  again() {
    const [moment, first] = [this.moments[this.index()], this.moments[0]];
    if (!moment) return;
    if (this.atEnd()) this.seen = this.moments.length;
    this.showNews();
    this.besideButton.hidden = this.moments.length < 2;
    const beside = this.besideButton.getAttribute("aria-pressed") === "true" && moment !== first;
    const apart = beside ? ` · ${grouped(moment.step - first.step)} steps after the first` : "";
    this.words.textContent = momentWords({ ...this.judged(moment.step), step: moment.step }) + apart;
    this.slider.setAttribute("aria-valuetext", this.words.textContent);
    this.write(moment, beside ? first : null);
  }

  // New samples wait until the person is through with the old ones.
  showNews() {
    const fresh = this.moments.length - this.seen;
    this.news.hidden = fresh <= 0 || this.playing != null;
    this.news.textContent = `${plural(fresh, "new evaluation")} since`;
  }

  write(moment, first) {
    const shown = JSON.stringify([first?.step, [...moment.texts], [...(first?.texts ?? [])]]);
    if (shown === this.shown) return;
    this.shown = shown;
    const nodes = [...moment.texts].map(([prompt, text]) => (first
      ? pair(prompt, { step: first.step, text: first.texts.get(prompt) ?? "" }, { step: moment.step, text })
      : paragraph(prompt, text)));
    this.texts.replaceChildren(...nodes);
  }

  judged(step) {
    const columns = this.history.columns("val_loss");
    const i = columns.step.indexOf(step);
    return i < 0 ? {} : { epoch: columns.epoch[i], val_loss: columns.value[i] };
  }
}

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

function paragraph(prompt, text) {
  const beginning = document.createElement("b");
  beginning.textContent = prompt;
  return element("p", "sample", beginning, element("span", "sample-text", text));
}

function pair(prompt, before, now) {
  const side = ({ step, text }) => element("div", "sample-side", element("small", "faint", `step ${grouped(step)}`), element("span", "sample-text", text));
  const beginning = document.createElement("b");
  beginning.textContent = prompt;
  return element("div", "sample", beginning, element("div", "sample-sides", side(before), side(now)));
}
