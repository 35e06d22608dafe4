// What every page has: theme, menus, dialogs, shortcuts, forms that are sent once, copying.

import { announce, announceMessages } from "./announcer.js";
import { keepAges } from "./binding.js";
import { copy } from "./clipboard.js";
import { keepFlashes } from "./flashes.js";
import { keepMenus } from "./menus.js";
import { onAction, listen } from "./shortcuts.js";
import { keepTheme, switchTheme } from "./themes.js";

onAction("theme", switchTheme);
onAction("help", () => document.getElementById("shortcuts").showModal());
onAction("runs", () => { location.href = "/"; });
onAction("new", () => { location.href = "/runs/new"; });
onAction("playground", () => { location.href = "/playground"; });
// Menus hear Escape first: it closes one before it means anything else. Messages hear it last.
keepMenus();
listen();
keepFlashes();
keepTheme();
keepAges(document);
announceMessages();

// A form that starts something is sent once; coming back to the page frees it again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.once === undefined || event.submitter?.dataset.free !== undefined) return;
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
  announce("Copied");
  setTimeout(() => { words.textContent = before; }, 1500);
});
