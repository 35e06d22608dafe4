// One table in the page, the list of shortcuts that people read, says which key does what.

import { menuIsOpen } from "./menus.js";

const actions = new Map();
const SWITCH = "single-keys";

// Register what an action does; a later page may take over an earlier meaning.
export function onAction(name, act) {
  actions.set(name, act);
}

export function listen() {
  const keys = new Map();
  const single = singleKeys();
  for (const row of document.querySelectorAll("#shortcuts [data-shortcut]")) {
    keys.set(row.dataset.shortcut, row.dataset.shortcutAction);
  }
  document.addEventListener("keydown", (event) => {
    const act = actions.get(keys.get(nameOf(event)));
    if (!act || event.defaultPrevented || event.isComposing) return;
    if (!worksWhileTyping(event) && (isTyping(event.target) || menuIsOpen() || !single.checked)) return;
    if (document.querySelector("dialog[open]")) return;
    if (act(event) !== false) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const act = actions.get(event.target.closest?.("[data-action]")?.dataset.action);
    act?.(event);
  });
}

// Whoever dictates, or whose hand strays, can do without keys that act alone (WCAG 2.1.4).
function singleKeys() {
  const box = document.querySelector("[data-shortcut-switch]");
  try {
    box.checked = localStorage.getItem(SWITCH) !== "off";
    box.addEventListener("change", () => localStorage.setItem(SWITCH, box.checked ? "on" : "off"));
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
  return box;
}

function nameOf(event) {
  if (event.altKey) return "";
  return event.ctrlKey || event.metaKey ? `Ctrl+${event.key}` : event.key;
}

function worksWhileTyping(event) {
  return event.key === "Escape" || event.ctrlKey || event.metaKey;
}

function isTyping(target) {
  const field = target.closest?.("input, textarea, select, [contenteditable]");
  return Boolean(field) && !["checkbox", "radio", "range", "button"].includes(field.type);
}

// Press what a button or link would do, by the name in data-shortcut-target.
export function target(name) {
  const node = document.querySelector(`[data-shortcut-target="${name}"]`);
  return node && !node.closest("[hidden]") ? node : null;
}
