// Up to four lanes side by side; on a small screen one at a time, by a swipe or by its tab.

import { Lane } from "./lane.js";

export const MOST_LANES = 4;

export class Lanes {
  constructor(node, tabs, page) {
    Object.assign(this, { node, tabs, page });
    this.all = [];
    this.addButton = document.querySelector("[data-action=add-lane]");
    this.add(node.querySelector("[data-lane]"));
    node.addEventListener("change", () => this.showTabs());
    node.addEventListener("scroll", () => this.markTab(), { passive: true });
    tabs.addEventListener("click", ({ target }) => this.bringIntoView(target.closest("a")));
  }

  [Symbol.iterator]() {
    return this.all[Symbol.iterator]();
  }

  get writing() {
    return this.all.some((lane) => lane.writing);
  }

  of(node) {
    return this.all.find((lane) => lane.node.contains(node));
  }

  add(node) {
    const lane = new Lane(node, this.page);
    node.querySelector("[data-remove]").addEventListener("click", () => this.remove(lane));
    this.all.push(lane);
    this.show();
    return lane;
  }

  // model: the one to choose; without it another than those that are there.
  addFresh(model = null) {
    if (this.all.length >= MOST_LANES) return;
    const [first] = this.all;
    const node = first.node.cloneNode(true);
    node.dataset.state = "ready";
    for (const part of ["text", "report", "warmth", "words", "then"]) node.querySelector(`[data-${part}]`).replaceChildren();
    for (const button of node.querySelectorAll(".lane-foot button")) button.hidden = true;
    node.querySelector("[data-failure]").hidden = true;
    node.querySelector("#alternatives")?.remove();
    const select = node.querySelector("[data-model]");
    choose(select, model ?? another(this.all.map((lane) => lane.model)));
    this.node.append(node);
    this.bringIntoView(this.tabOf(this.add(node)));
  }

  remove(lane) {
    this.all = this.all.filter((one) => one !== lane);
    lane.leave();
    this.show();
    this.all[0].model.focus();
    this.page.onState();
  }

  show() {
    this.all.forEach((lane, index) => {
      lane.node.id = `lane-${index + 1}`;
      lane.node.querySelector("[data-remove]").hidden = this.all.length === 1;
    });
    this.addButton.disabled = this.all.length >= MOST_LANES;
    this.showTabs();
  }

  showTabs() {
    this.all.forEach((lane, index) => lane.tellNames(index + 1, this.all.length));
    this.tabs.hidden = this.all.length === 1;
    const isOneRun = new Set(this.all.map(({ model }) => model.selectedOptions[0]?.dataset.run)).size === 1;
    this.tabs.replaceChildren(...this.all.map(({ node, model }) => {
      const tab = document.createElement("a");
      tab.href = `#${node.id}`;
      const [run, checkpoint] = (model.selectedOptions[0]?.text ?? "").split(" · ");
      tab.textContent = isOneRun ? checkpoint : `${checkpoint ?? ""} ${run}`.trim();
      return tab;
    }));
    this.markTab();
  }

  // The one in view on a small screen.
  get shown() {
    return this.all[Math.round(this.node.scrollLeft / Math.max(1, this.node.clientWidth))] ?? this.all[0];
  }

  markTab() {
    const place = this.all.indexOf(this.shown);
    [...this.tabs.children].forEach((tab, index) => {
      if (index === place) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    });
    const current = this.tabs.children[place];
    this.tabs.scrollTo({ left: current.offsetLeft - this.tabs.offsetLeft - (this.tabs.clientWidth - current.offsetWidth) / 2 });
  }

  tabOf(lane) {
    return this.tabs.children[this.all.indexOf(lane)];
  }

  bringIntoView(tab) {
    if (!tab || this.tabs.checkVisibility?.() === false) return;
    const place = [...this.tabs.children].indexOf(tab);
    this.node.scrollTo({ left: place * this.node.clientWidth });
  }
}

export function choose(select, model) {
  const before = select.value;
  select.value = model;
  if (!select.value) select.value = before;
  return select.value === model;
}

// The oldest checkpoint of the first run that no lane shows yet, else another run, else the same.
function another(selects) {
  const chosen = selects.map((select) => select.selectedOptions[0]).filter(Boolean);
  const [first] = chosen;
  const isShown = ({ dataset: { run, step } }) => chosen.some(({ dataset }) => dataset.run === run && dataset.step === step);
  const free = [...selects[0].options].filter((option) => !option.disabled && !isShown(option));
  const older = free.filter(({ dataset }) => dataset.run === first?.dataset.run);
  older.sort((a, b) => Number(a.dataset.step) - Number(b.dataset.step));
  return (older[0] ?? free[0] ?? first)?.value;
}
