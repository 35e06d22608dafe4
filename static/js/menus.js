// Menus and dialogs: one open menu, closed by Escape, by a click or the focus going elsewhere.

const FIELD = "input:not([type=hidden], [type=checkbox], [type=radio]), textarea, select";

function openMenus() {
  return document.querySelectorAll("details[data-menu][open]");
}

export function menuIsOpen() {
  return openMenus().length > 0;
}

// Whoever opens a menu to type into it can begin at once.
function focusField({ target }) {
  if (target.matches?.("details[data-menu][open]")) target.querySelector(FIELD)?.focus();
}

function closeOutside(event) {
  for (const menu of openMenus()) {
    if (!menu.contains(event.target)) menu.open = false;
  }
}

// A press on words in a menu gives the focus to what holds the menu: that is not elsewhere.
function closeUnfocused(event) {
  if (![...openMenus()].some((menu) => event.target.contains(menu))) closeOutside(event);
}

function closeOnEscape(event) {
  if (event.key !== "Escape") return;
  for (const menu of openMenus()) {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.preventDefault();
  }
}

export function keepMenus() {
  document.addEventListener("click", closeOutside);
  document.addEventListener("focusin", closeUnfocused);
  document.addEventListener("keydown", closeOnEscape);
  document.addEventListener("toggle", focusField, true);
  // A click on a dialog's backdrop counts as one on the dialog itself.
  document.addEventListener("click", (event) => {
    if (event.target instanceof HTMLDialogElement) event.target.close();
  });
}
