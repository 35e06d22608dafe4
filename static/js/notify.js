// The browser's own notifications when a run ends: asked for with a button, remembered in this
// browser, and shown only while nobody looks at the page.

import { isActive } from "./runstate.js";

const KEY = "notify";
const ENDED = {
  completed: (title) => `✓ ${title} is completed`,
  failed: (title) => `✗ ${title} failed`,
  interrupted: (title) => `⚠ ${title} was interrupted`,
  stopped: (title) => `■ ${title} was stopped`,
};

// What to say of a run that was in one state and is in another; null where it did not just end.
export function ending(before, run) {
  if (!before || !isActive(before) || isActive(run)) return null;
  const body = run.error?.message
    ?? (run.val_loss == null ? "" : `Validation loss ${run.val_loss.toFixed(4)} after ${run.step} steps.`);
  return { title: ENDED[run.status](run.name || run.run_id), body };
}

function supported() {
  return "Notification" in window && window.isSecureContext;
}

// Whether this browser is to notify.
export function isOn() {
  try {
    return supported() && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";
  } catch {
    return false; // Storage is forbidden, so nothing was remembered.
  }
}

function remember(on) {
  try {
    localStorage.setItem(KEY, on ? "on" : "off");
  } catch {
    // Storage is forbidden: the choice cannot be kept.
  }
}

// The button that turns notifications on and off; hidden where the browser has none.
export function bindNotifyButton(button) {
  if (!button || !supported()) return;
  const words = button.querySelector("[data-notify-words]");
  const show = () => {
    button.setAttribute("aria-pressed", String(isOn()));
    const denied = Notification.permission === "denied";
    words.textContent = denied ? "Notifications are blocked: allow them in the browser’s settings" : "Notify me when it ends";
    button.setAttribute("aria-disabled", String(denied));
  };
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (isOn()) remember(false);
    else if (await Notification.requestPermission() === "granted") remember(true);
    show();
  });
  show();
}

// Tell of a run that ended while nobody looked.
export function notifyEnding(before, run) {
  const told = ending(before, run);
  if (!told || !document.hidden || !isOn()) return;
  const shown = new Notification(told.title, { body: told.body, tag: run.run_id, icon: "/static/favicon.svg" });
  shown.addEventListener("click", () => {
    window.focus();
    if (location.pathname !== `/runs/${run.run_id}`) location.href = `/runs/${run.run_id}`;
    shown.close();
  });
}
