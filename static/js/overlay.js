// Other runs' curves laid over those of a page: a picker, and the curves of those that were picked.

import { swatch } from "./chartparts.js";
import { fetchJson } from "./fetching.js";
import { plural } from "./formats.js";
import { watchRun } from "./live.js";
import { overlayDash, overlayToken } from "./runcharts.js";
import { RunCurves } from "./runcurves.js";

const MOST_OVERLAID = 6;
const MOST_LISTED = 30;
const SEARCH_AFTER_MS = 200;
const SERIES = ["train_loss", "val_loss", "learning_rate", "grad_norm", "tokens_per_second", "val_word_perplexity"];

export class Overlay {
  // onChange(runs): the overlaid runs are others now; points: of each curve.
  constructor(menu, chips, { runId, view, points, onChange }) {
    Object.assign(this, { menu, chips, runId, view, points, onChange });
    this.runs = [];
    this.list = menu.querySelector("[data-overlay-list]");
    this.search = menu.querySelector("[data-overlay-search]");
    this.words = menu.querySelector("[data-overlay-words]");
    menu.addEventListener("toggle", () => { if (menu.open) this.open(); });
    this.search.addEventListener("input", () => this.searchLater());
    this.list.addEventListener("change", ({ target }) => this.choose(target.value, target.dataset.title, target.checked));
    chips.addEventListener("click", ({ target }) => this.remove(target.closest("[data-remove]")?.dataset.remove));
  }

  // Take up the runs that the address names.
  async restore() {
    const wanted = this.view.overlaid.filter((runId) => runId !== this.runId).slice(0, MOST_OVERLAID);
    const found = await Promise.all(wanted.map((runId) => fetchJson(`/api/runs/${encodeURIComponent(runId)}`)));
    await Promise.all(found.filter(Boolean).map((run) => this.add(run.run_id, run.name || run.run_id)));
  }

  open() {
    this.search.focus();
    this.fill();
  }

  searchLater() {
    clearTimeout(this.due);
    this.due = setTimeout(() => this.fill(), SEARCH_AFTER_MS);
  }

  async fill() {
    const asked = this.search.value;
    const answer = await fetchJson(`/api/runs?limit=${MOST_LISTED}&q=${encodeURIComponent(asked)}`);
    if (!answer || asked !== this.search.value) return;
    const others = answer.runs.filter((run) => run.run_id !== this.runId);
    this.list.replaceChildren(...others.map((run) => this.choice(run)));
    const left = answer.total - answer.runs.length;
    this.words.textContent = others.length ? (left > 0 ? `${plural(left, "more run")}: search for them` : "") : "No other run fits";
  }

  choice(run) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    Object.assign(box, { type: "checkbox", value: run.run_id, checked: this.has(run.run_id) });
    box.dataset.title = run.name || run.run_id;
    const name = document.createElement("span");
    name.className = "overlay-name";
    name.textContent = box.dataset.title;
    label.append(box, name);
    return label;
  }

  has(runId) {
    return this.runs.some((run) => run.runId === runId);
  }

  async choose(runId, title, chosen) {
    if (!chosen) this.remove(runId);
    else if (this.runs.length >= MOST_OVERLAID) {
      this.words.textContent = `At most ${MOST_OVERLAID} runs can be laid over`;
      for (const box of this.list.querySelectorAll("input")) box.checked = this.has(box.value);
    } else await this.add(runId, title);
  }

  async add(runId, title) {
    if (this.has(runId)) return;
    const curves = new RunCurves(runId, this.points, () => this.view.refresh());
    const token = overlayToken(this.runs.map((run) => run.token));
    const run = { runId, title, curves, token, stop: () => {} };
    this.runs.push(run);
    await curves.load(SERIES);
    if (!this.has(runId)) return;
    if (this.view.zoom) curves.look(this.view.zoom, this.view.axis);
    run.stop = this.follow(run);
    this.changed();
  }

  // Its curves go on while it trains.
  follow({ runId, curves }) {
    const step = curves.history.lastStep();
    return watchRun(runId, step == null ? {} : { after_step: step }, {
      metrics: (message) => {
        curves.merge(message);
        this.view.refresh();
      },
    }, "metrics");
  }

  remove(runId) {
    if (!runId || !this.has(runId)) return;
    this.runs.find((run) => run.runId === runId).stop();
    this.runs = this.runs.filter((run) => run.runId !== runId);
    const box = this.list.querySelector(`input[value="${CSS.escape(runId)}"]`);
    if (box) box.checked = false;
    this.changed();
  }

  look(range) {
    for (const { curves } of this.runs) curves.look(range, this.view.axis);
  }

  changed() {
    this.chips.replaceChildren(...this.runs.map(chip));
    this.view.overlay(this.runs.map(({ runId }) => runId));
    this.onChange(this.runs);
  }

  // The curves of the overlaid runs that go with a curve of the page.
  curvesLike(curve) {
    return this.runs.map(({ title, curves, token }) => ({
      ...curve,
      label: curve.short ? `${title}, ${curve.short}` : title,
      token,
      columns: (axis) => curves.drawn(curve.series, axis),
      counts: () => curves.counts(curve.series),
      dash: overlayDash(curve, token),
    }));
  }
}

function chip({ runId, title, token }) {
  const node = document.createElement("span");
  node.className = "tag overlay-chip";
  const link = document.createElement("a");
  Object.assign(link, { href: `/runs/${runId}`, textContent: title });
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "link-button", textContent: "×", title: "Take it away" });
  button.dataset.remove = runId;
  button.setAttribute("aria-label", `Take ${title} away`);
  node.append(swatch({ token }), link, button);
  return node;
}
