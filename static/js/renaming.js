// A run is renamed where its name stands: Enter keeps the new name, Escape the old one.

import { announce } from "./announcer.js";

export function isRenamed(row) {
  return row.querySelector(".rename-form") !== null;
}

export function rename(row) {
  if (isRenamed(row)) return;
  const link = row.querySelector("[data-open]");
  const form = document.createElement("form");
  const input = document.createElement("input");
  const fault = document.createElement("span");
  form.className = "rename-form";
  fault.className = "field-error";
  fault.setAttribute("role", "alert");
  Object.assign(input, {
    className: "input",
    maxLength: 120,
    value: link.textContent === row.dataset.run ? "" : link.textContent,
    placeholder: row.dataset.run,
  });
  input.setAttribute("aria-label", `Name of ${link.textContent}`);
  form.append(input, fault);
  row.querySelector(".run-name").before(form);
  row.toggleAttribute("data-renamed", true);
  input.select();
  listen(row, form, input, fault);
}

function listen(row, form, input, fault) {
  const before = input.value;
  let sent = false;
  const close = (refocus) => {
    row.removeAttribute("data-renamed");
    form.remove();
    if (refocus) row.querySelector("[data-open]").focus();
  };
  const keep = async (refocus) => {
    const name = input.value.trim();
    if (sent) return;
    if (name === before) {
      close(refocus);
      return;
    }
    sent = true;
    const refused = await send(row.dataset.run, name);
    sent = false;
    if (refused) {
      fault.textContent = refused;
      input.setAttribute("aria-invalid", "true");
      input.focus();
      return;
    }
    const link = row.querySelector("[data-open]");
    link.textContent = link.title = name || row.dataset.run;
    announce("Renamed");
    close(refocus);
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keep(true);
  });
  input.addEventListener("blur", () => {
    if (form.isConnected && !fault.textContent) keep(false);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    fault.textContent = " ";
    close(true);
  });
}

// Return why the name was not taken, or nothing.
async function send(runId, name) {
  const response = await change(runId, { name: name || null });
  if (response === null) return "The server does not answer: the name is as it was.";
  if (response.ok) return "";
  const { error } = await response.json();
  return `${error.message} ${error.hint}`.trim();
}

// Change what is said of a run; null when nobody answers.
export function change(runId, fields) {
  return fetch(`/api/runs/${runId}`, {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(fields),
  }).catch(() => null);
}
