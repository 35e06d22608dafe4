// What every page has: theme switch, menus, dialogs, shortcuts, forms that are sent once, copying.

import { keepAges } from "./binding.js";
import { copy } from "./clipboard.js";
import { onAction, listen } from "./shortcuts.js";

const root = document.documentElement;

function switchTheme() {
  const dark = getComputedStyle(root).colorScheme === "dark"
    || (root.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
  dispatchEvent(new Event("themechange"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));

onAction("theme", switchTheme);
onAction("help", () => document.getElementById("shortcuts").showModal());
onAction("runs", () => { location.href = "/"; });
onAction("new", () => { location.href = "/runs/new"; });
onAction("playground", () => { location.href = "/playground"; });
listen();
keepAges(document);

// A menu closes when the person goes on to something else.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement) event.target.close();
});

// A form that starts something is sent once; coming back to the page frees it again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.once === undefined) return;
  if (form.dataset.sent !== undefined) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "";
  for (const button of form.querySelectorAll("button:not([type=button])")) {
    button.setAttribute("aria-disabled", "true");
    if (button.dataset.busy) button.lastChild.textContent = button.dataset.busy;
  }
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await copy(document.getElementById(button.dataset.copy).textContent);
  const words = button.lastChild;
  const before = words.textContent;
  words.textContent = "Copied";
  setTimeout(() => { words.textContent = before; }, 1500);
});
