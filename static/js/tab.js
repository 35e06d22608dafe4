// What the tab of a run says while somebody looks elsewhere: its title, and a ring for its sign.

import { isActive, percentDone, percentWords } from "./runstate.js";

const TONES = { active: "#2a6fdb", good: "#2c8a3f", warning: "#d98a1c", bad: "#d0343f", quiet: "#7d8694" };
const SIGNS = { completed: "✓", failed: "✗", interrupted: "⚠", stopped: "■" };
const ROUND = 2 * Math.PI * 12;

export function titleWords(run, title) {
  if (SIGNS[run.status]) return `${SIGNS[run.status]} ${title}`;
  const share = percentDone(run);
  const words = run.status === "queued" ? "queued" : percentWords(share);
  const told = run.paused ? `⏸ ${words}`.trim() : words;
  return told ? `${told} · ${title}` : title;
}

export function toneOf(run) {
  if (run.paused || run.status === "stopping" || run.status === "interrupted") return "warning";
  return { completed: "good", failed: "bad", stopped: "quiet", queued: "quiet" }[run.status] ?? "active";
}

const MARKS = {
  completed: '<path d="m10 16.5 4 4 8-9"/>',
  failed: '<path d="m11.5 11.5 9 9m0-9-9 9"/>',
  interrupted: '<path d="M16 9.5v8M16 22v.5"/>',
  stopped: '<path d="M12 12h8v8h-8z"/>',
};

// A ring as full as the run is done, or the sign of how it ended, as an SVG.
export function favicon(run) {
  const tone = TONES[toneOf(run)];
  const share = isActive(run) ? (percentDone(run) ?? 0) / 100 : 1;
  const dashes = `${(share * ROUND).toFixed(1)} ${ROUND.toFixed(1)}`;
  return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-width="5">'
    + `<circle cx="16" cy="16" r="12" stroke="${tone}" stroke-opacity=".28"/>`
    + `<circle cx="16" cy="16" r="12" stroke="${tone}" stroke-dasharray="${dashes}" transform="rotate(-90 16 16)"/>`
    + `<g stroke="${tone}" stroke-width="3.5" stroke-linecap="round" stroke-linejoin="round">${MARKS[run.status] ?? ""}</g></svg>`;
}

export class Tab {
  constructor(title) {
    this.title = title;
    this.icon = document.querySelector("link[rel=icon]");
  }

  show(run) {
    const words = `${titleWords(run, this.title)} · llm-trainer`;
    if (document.title !== words) document.title = words;
    const address = `data:image/svg+xml,${encodeURIComponent(favicon(run))}`;
    if (this.icon.href !== address) this.icon.href = address;
  }
}
