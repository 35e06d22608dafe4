// "Watch it learn": what the model wrote at each evaluation, with a slider over time.

import { momentWords } from "./runstate.js";

export class Samples {
  constructor(panel, history) {
    this.history = history;
    this.moments = [];
    this.words = panel.querySelector("[data-moment-words]");
    this.texts = panel.querySelector("[data-moment-texts]");
    this.tools = panel.querySelector("[data-samples-tools]");
    this.slider = panel.querySelector("input[type=range]");
    this.shown = null;
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
  }

  merge({ after_step: afterStep, samples }) {
    const atEnd = this.atEnd();
    if (afterStep != null) this.moments = this.moments.filter(({ step }) => step <= afterStep);
    for (const { step, prompt, text } of samples) this.momentAt(step).texts.set(prompt, text);
    this.slider.max = Math.max(0, this.moments.length - 1);
    this.tools.hidden = this.moments.length < 2;
    // Someone who looks at an earlier moment stays there.
    if (atEnd) this.slider.value = this.slider.max;
    this.show(Number(this.slider.value));
  }

  atEnd() {
    return Number(this.slider.value) >= this.moments.length - 1;
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

  move(by) {
    const index = Number(this.slider.value) + by;
    if (index < 0 || index >= this.moments.length) return;
    this.slider.value = index;
    this.show(index);
  }

  show(index) {
    const moment = this.moments[index];
    if (!moment) return;
    this.words.textContent = momentWords({ ...this.judged(moment.step), step: moment.step });
    this.slider.setAttribute("aria-valuetext", this.words.textContent);
    const shown = JSON.stringify([...moment.texts]);
    if (shown === this.shown) return;
    this.shown = shown;
    this.texts.replaceChildren(...[...moment.texts].map(([prompt, text]) => paragraph(prompt, text)));
  }

  judged(step) {
    const columns = this.history.columns("val_loss");
    const i = columns.step.indexOf(step);
    return i < 0 ? {} : { epoch: columns.epoch[i], val_loss: columns.value[i] };
  }

  again() {
    this.show(Number(this.slider.value));
  }
}

function paragraph(prompt, text) {
  const node = document.createElement("p");
  node.className = "sample";
  const beginning = document.createElement("b");
  beginning.textContent = prompt;
  const rest = document.createElement("span");
  rest.className = "sample-text";
  rest.textContent = text;
  node.append(beginning, rest);
  return node;
}
