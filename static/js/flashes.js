// What an action left to say above the page: closed by hand or by Escape, and gone once it is old.

import { show } from "./binding.js";

const SHOWN_SECONDS = 10;

const box = document.getElementById("messages");

function flashes(kind = "") {
  return [...box.querySelectorAll(kind ? `[data-flash="${kind}"]` : "[data-flash]")];
}

function close(message) {
  const hadFocus = message.contains(document.activeElement);
  const next = message.nextElementSibling ?? message.previousElementSibling;
  message.remove();
  show(box, flashes().length > 0);
  if (hadFocus) (next?.querySelector("[data-close]") ?? document.getElementById("main")).focus({ preventScroll: true });
}

async function fade(message) {
  message.dataset.leaving = "";
  await Promise.allSettled(message.getAnimations().map((animation) => animation.finished));
  if (message.isConnected) close(message);
}

// Only seconds count in which the page is looked at and nobody is at the message.
function fadeLater(message) {
  let left = SHOWN_SECONDS;
  const timer = setInterval(() => {
    if (document.hidden || message.matches(":hover, :focus-within")) return;
    left -= 1;
    if (left > 0) return;
    clearInterval(timer);
    fade(message);
  }, 1000);
}

// What was done is old news once the run has moved on; errors and what can be undone stay.
export function moveOn() {
  flashes("done").forEach(fade);
}

function closeOnEscape(event) {
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
  const message = event.target.closest?.("[data-flash]") ?? flashes().at(-1);
  if (!message) return;
  event.preventDefault();
  close(message);
}

export function keepFlashes() {
  flashes("done").forEach(fadeLater);
  box.addEventListener("click", ({ target }) => {
    const message = target.closest("[data-close]")?.closest("[data-flash]");
    if (message) close(message);
  });
  document.addEventListener("keydown", closeOnEscape);
}
