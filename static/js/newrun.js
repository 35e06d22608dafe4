// The new-run form: marks what differs from the default, finds settings, keeps the folds as they were.

import { plural } from "./formats.js";

const form = document.getElementById("new-run");
const plan = document.getElementById("plan");
const search = document.getElementById("setting-search");
const found = document.getElementById("setting-count");
const settings = [...form.querySelectorAll("[data-setting]")];
let unfolded = false;

plan.addEventListener("toggle", (event) => { unfolded = event.target.open; }, true);
plan.addEventListener("htmx:afterSwap", () => {
  const fold = document.getElementById("toml-fold");
  if (fold) fold.open = unfolded;
});

// ------------------------------------------------------------------ what differs from the default

function controls(setting) {
  return [...setting.querySelectorAll("[name]")].filter((control) => control.type !== "hidden");
}

function valueOf(setting) {
  const [first, ...others] = controls(setting);
  if (first.type === "radio") return [first, ...others].find((radio) => radio.checked)?.value ?? "";
  if (first.type === "checkbox") return String(first.checked);
  return first.value;
}

function setValue(setting, value) {
  const [first, ...others] = controls(setting);
  if (first.type === "radio") {
    for (const radio of [first, ...others]) radio.checked = radio.value === value;
  } else if (first.type === "checkbox") {
    first.checked = value === "true";
  } else {
    first.value = value;
  }
}

// 0.10 is 0.1, and spaces around a value mean nothing: the server reads it so too.
function sameValue(a, b) {
  const [left, right] = [a.trim(), b.trim()];
  if (left === right) return true;
  return left !== "" && right !== "" && Number(left) === Number(right);
}

function mark(setting) {
  const changed = !sameValue(valueOf(setting), setting.dataset.default);
  setting.toggleAttribute("data-changed", changed);
  setting.querySelector("[data-reset]").hidden = !changed;
}

form.addEventListener("input", (event) => {
  const setting = event.target.closest("[data-setting]");
  if (setting) mark(setting);
});
form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-reset]");
  if (!button) return;
  const setting = button.closest("[data-setting]");
  setValue(setting, setting.dataset.default);
  mark(setting);
  controls(setting)[0].focus();
  form.dispatchEvent(new Event("change", { bubbles: true }));
});
// The browser may have put back what was typed before the page was left.
settings.forEach(mark);

// ------------------------------------------------------------------ finding a setting

const texts = new Map(settings.map((setting) => [setting, `${setting.dataset.setting} ${setting.textContent}`.toLowerCase()]));
const folds = new Map([...form.querySelectorAll("[data-fold]")].map((fold) => [fold, { open: fold.open, note: noteOf(fold).textContent }]));

function noteOf(fold) {
  return fold.querySelector(".fold-note");
}

// While something is sought, a fold is open and says how many of its settings are shown.
function showFold(fold, before, seeking) {
  const inside = [...fold.querySelectorAll("[data-setting]")];
  fold.open = seeking || before.open;
  noteOf(fold).textContent = seeking ? `${inside.filter((setting) => !setting.hidden).length} of ${inside.length} shown` : before.note;
}

function findSettings() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const [setting, text] of texts) {
    const fits = words.every((word) => text.includes(word));
    setting.hidden = !fits;
    count += fits;
  }
  for (const group of form.querySelectorAll(".form-section, [data-fold]")) {
    group.hidden = words.length > 0 && !group.querySelector("[data-setting]:not([hidden])");
  }
  for (const [fold, before] of folds) showFold(fold, before, words.length > 0);
  found.textContent = words.length ? plural(count, "setting") : "";
}

// What is searched for is no setting: the panel beside the form has nothing new to say.
for (const event of ["input", "change"]) search.addEventListener(event, (told) => told.stopPropagation());
search.addEventListener("input", findSettings);
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault();
});

// ------------------------------------------------------------------ mistakes

function goTo(id) {
  const place = document.getElementById(id);
  if (!place) return;
  const fold = place.closest("details");
  if (fold) fold.open = true;
  (place.matches("input, select, textarea") ? place : place.querySelector("input:checked, input"))?.focus();
}

// A mistake is easiest mended where it is.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='#']");
  const id = link?.getAttribute("href").slice(1);
  if (!id || !form.querySelector(`[id="${CSS.escape(id)}"]`)) return;
  event.preventDefault();
  goTo(id);
});
const first = document.querySelector(".field-error")?.closest("[id$='-error']");
if (first) goTo(first.id.replace(/-error$/, ""));
