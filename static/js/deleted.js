// The deleted runs: all of them at one click, how many are chosen, and buttons that need a choice.

import { plural } from "./formats.js";

const form = document.getElementById("deleted");
const words = form?.querySelector("[data-words]");
const all = form?.querySelector("[data-select-all]");
const untouched = words?.textContent;

function boxes() {
  return [...form.querySelectorAll("input[name=run]")];
}

function tell() {
  const chosen = boxes().filter((box) => box.checked).length;
  all.checked = chosen === boxes().length;
  all.indeterminate = chosen > 0 && !all.checked;
  for (const button of form.querySelectorAll("[name=action]")) button.disabled = !chosen;
  words.textContent = chosen ? `${plural(chosen, "run")} selected` : untouched;
}

if (form) {
  form.addEventListener("change", (event) => {
    if (event.target === all) for (const box of boxes()) box.checked = all.checked;
    tell();
  });
  tell();
}
