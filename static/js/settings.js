// The settings of the playground: read, checked by the same limits as the server's, set and reset.

export class Settings {
  // onChange(): a setting was typed, chosen or set.
  constructor(form, onChange) {
    Object.assign(this, { form, onChange });
    this.fields = [...form.querySelectorAll("[data-allowed]")];
    this.numbers = this.fields.filter(({ dataset }) => dataset.usual !== "");
    this.fold = form.querySelector("[data-all-settings]");
    form.addEventListener("input", ({ target }) => this.typed(target));
    this.reset = form.querySelector("[data-action=usual]");
    this.presets = [...form.querySelectorAll("[data-preset]")];
    for (const button of this.presets) {
      button.addEventListener("click", () => this.set(JSON.parse(button.dataset.preset)));
    }
    // What was typed before this script came, or kept by the browser, moves the sliders too.
    this.set(this.typedValues());
    this.foldWhenNarrow();
  }

  typed({ name, value, dataset }) {
    if (dataset.slider) this.setField(dataset.slider, value);
    else if (name in this.usual()) this.setField(name, value);
    else return;
    this.changed();
  }

  setField(name, value) {
    const field = this.form.elements[name];
    if (field.value !== String(value)) field.value = value;
    const slider = this.form.querySelector(`[data-slider="${name}"]`);
    const fits = this.mark(field);
    if (!slider) return;
    if (fits) slider.value = value;
    slider.toggleAttribute("data-stale", !fits);
  }

  set(values) {
    for (const [name, value] of Object.entries(values)) this.setField(name, value);
    this.changed();
  }

  changed() {
    const typed = this.typedValues();
    const equal = (values) => Object.entries(values).every(([name, value]) => same(typed[name], value));
    for (const button of this.presets) button.setAttribute("aria-pressed", equal(JSON.parse(button.dataset.preset)));
    this.reset.disabled = equal(this.usual());
    this.onChange();
  }

  // What stands in each field, as it is typed.
  typedValues() {
    const typed = this.fields.map(({ name, value }) => [name, value.trim()]);
    return { ...Object.fromEntries(typed), stop: this.form.elements.stop.value };
  }

  usual() {
    return { ...Object.fromEntries(this.fields.map(({ name, dataset }) => [name, dataset.usual])), stop: "" };
  }

  // What is asked of the model; what changes nothing is left out, as the model would.
  asked() {
    const asked = this.fields.map(({ name, value, dataset }) => [name, neutral(value, dataset) ? null : Number(value)]);
    return { ...Object.fromEntries(asked), stop: stopTexts(this.form.elements.stop.value) };
  }

  // Show what was asked before.
  restore({ stop = [], ...asked }) {
    const values = this.fields.map(({ name, dataset }) => [name, asked[name] ?? dataset.neutral ?? ""]);
    this.set({ ...Object.fromEntries(values), stop: stop.map(typedStop).join("\n") });
  }

  // Mark every wrong field, go to the first, and say whether there is none.
  fit() {
    const wrong = [...this.fields, this.form.elements.stop].filter((field) => !this.mark(field));
    if (wrong.some((field) => this.fold.contains(field))) this.fold.open = true;
    wrong[0]?.focus();
    return wrong.length === 0;
  }

  mark(field) {
    return markField(field, field.name === "stop" ? stopProblem(field.value) : problem(field));
  }

  // On a small screen most settings are folded, but for one that is wrong.
  foldWhenNarrow() {
    const narrow = matchMedia("(max-width: 760px)");
    const fold = () => { this.fold.open = !narrow.matches || this.fold.querySelector("[aria-invalid]") != null; };
    narrow.addEventListener("change", fold);
    fold();
  }
}

// Say at a field what is wrong with it, or nothing; return whether it is right.
export function markField(field, words) {
  if (words) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
  const error = document.getElementById(`${field.id}-error`);
  error.hidden = !words;
  error.querySelector("span").textContent = words;
  return !words;
}

function same(typed, value) {
  return typed === String(value) || (typed !== "" && value !== "" && Number(typed) === Number(value));
}

function neutral(value, { neutral: unchanged }) {
  return value.trim() === "" || (unchanged !== undefined && Number(value) === Number(unchanged));
}

function problem({ value, dataset }) {
  const { low, high, whole, above, usual, allowed } = dataset;
  if (value.trim() === "") return usual === "" ? "" : allowed;
  const number = Number(value);
  const most = high === "inf" ? Infinity : Number(high);
  const fits = Number.isFinite(number) && number >= Number(low) && number <= most;
  const isKind = (whole === undefined || Number.isInteger(number)) && !(above !== undefined && number === Number(low));
  return fits && isKind ? "" : allowed;
}

// ---------------------------------------------------------------------- stop texts

const MOST_STOP_TEXTS = 16;
const MEANT = { "\\n": "\n", "\\t": "\t", "\\\\": "\\" };
const TYPED = { "\n": "\\n", "\t": "\\t", "\\": "\\\\" };

// One a line; the same rules as trainer/inference/typed.py.
export function stopTexts(typed) {
  return typed.split("\n").filter(Boolean).map((line) => line.replace(/\\[nt\\]/g, (found) => MEANT[found]));
}

export function typedStop(text) {
  return text.replace(/[\n\t\\]/g, (found) => TYPED[found]);
}

function stopProblem(typed) {
  return stopTexts(typed).length <= MOST_STOP_TEXTS ? "" : `Give at most ${MOST_STOP_TEXTS} texts, one a line.`;
}
