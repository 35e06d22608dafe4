// While the server does not answer, forms that it would have to act on wait: sent now, one would put
// the browser's error page in the place of this page, which reconnects by itself.

import { announce } from "./announcer.js";

const WORDS = "Nothing was sent: the dashboard’s server does not answer. Try again when this page has reconnected.";

let held = false;

export function holdForms(now) {
  if (held === now) return;
  held = now;
  if (now) for (const button of sendingButtons()) setHeld(button);
  else for (const button of document.querySelectorAll("[data-held]")) setFree(button);
}

function sendingButtons() {
  const forms = [...document.forms].filter((form) => form.method === "post");
  return forms.flatMap((form) => [...form.elements]).filter((one) => one.type === "submit" && one.ariaDisabled !== "true");
}

function setHeld(button) {
  button.dataset.held = "";
  button.setAttribute("aria-disabled", "true");
}

function setFree(button) {
  delete button.dataset.held;
  button.removeAttribute("aria-disabled");
}

// By keyboard a form can still be sent; what sends it by itself hears of it no more.
addEventListener("submit", (event) => {
  if (!held || event.target.method !== "post") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  announce(WORDS);
}, { capture: true });
