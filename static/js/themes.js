// The switch between the system's preference, dark and light; theme.js applies the choice early.

import { announce } from "./announcer.js";

const root = document.documentElement;
const preference = matchMedia("(prefers-color-scheme: dark)");
const WORDS = { system: "as the system", light: "light", dark: "dark" };

// From the system's preference the first press goes to its opposite: a press is always seen.
export function nextTheme(chosen, systemIsDark) {
  const [same, other] = systemIsDark ? ["dark", "light"] : ["light", "dark"];
  const order = ["system", other, same];
  return order[(order.indexOf(chosen) + 1) % order.length];
}

function chosenTheme() {
  return root.dataset.theme ?? "system";
}

function apply(theme) {
  if (theme === "dark" || theme === "light") root.dataset.theme = theme;
  else delete root.dataset.theme;
  label();
  dispatchEvent(new Event("themechange"));
}

function label() {
  const button = document.querySelector("[data-theme-switch]");
  const [now, next] = [chosenTheme(), nextTheme(chosenTheme(), preference.matches)];
  button.setAttribute("aria-label", `Theme: ${WORDS[now]}. Change to ${WORDS[next]}`);
  button.title = `Theme: ${WORDS[now]}; change to ${WORDS[next]} (t)`;
}

function remember(theme) {
  try {
    if (theme === "system") localStorage.removeItem("theme");
    else localStorage.setItem("theme", theme);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
}

export function switchTheme() {
  const theme = nextTheme(chosenTheme(), preference.matches);
  remember(theme);
  apply(theme);
  announce(`Theme: ${WORDS[theme]}`);
}

// Paper is white: while a page is printed it is light, its charts too.
function printInLight() {
  let before = null;
  addEventListener("beforeprint", () => {
    before = chosenTheme();
    apply("light");
  });
  addEventListener("afterprint", () => apply(before));
}

export function keepTheme() {
  label();
  preference.addEventListener("change", () => apply(chosenTheme()));
  addEventListener("storage", (event) => {
    if (event.key === "theme") apply(event.newValue);
  });
  printInLight();
}
