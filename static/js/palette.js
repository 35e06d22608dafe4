// Colours of the token sheet, resolved for the theme in force, as the canvas needs them.

const known = new Map();
const probe = document.createElement("span");
probe.hidden = true;
document.body.append(probe);
addEventListener("themechange", () => known.clear());

export function color(token, alpha = 1) {
  if (!known.has(token)) {
    probe.style.color = `var(${token})`;
    known.set(token, getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).join(" "));
  }
  return `rgb(${known.get(token)} / ${alpha})`;
}
