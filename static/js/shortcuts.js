// One table in the page, the list of shortcuts that people read, says which key does what.

const actions = new Map();

// Register what an action does; a later page may take over an earlier meaning.
export function onAction(name, act) {
  actions.set(name, act);
}

export function listen() {
  const keys = new Map();
  for (const row of document.querySelectorAll("#shortcuts [data-shortcut]")) {
    keys.set(row.dataset.shortcut, row.dataset.shortcutAction);
  }
  document.addEventListener("keydown", (event) => {
    const act = actions.get(keys.get(nameOf(event)));
    if (!act || (isTyping(event.target) && !worksWhileTyping(event)) || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return;
    if (act(event) !== false) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const act = actions.get(event.target.closest?.("[data-action]")?.dataset.action);
    act?.(event);
  });
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
