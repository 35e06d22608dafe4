// The log: its tail, followed unless someone reads further up; older parts as one scrolls; and a
// search over all of it, which the server makes. The page holds a bounded number of lines.

import { fetchJson } from "./fetching.js";
import { plural, size } from "./formats.js";

const MOST_LINES = 2000;
const PART_LINES = 200;
const CONTEXT_LINES = 40;
const NEAR_PX = 40;
const SEARCH_AFTER_MS = 250;
// A search goes on by itself so often while it finds nothing.
const MOST_ROUNDS = 8;
const STAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z(?= )/;

export class Log {
  constructor(panel, runId, end) {
    const part = (name) => panel.querySelector(`[data-log${name}]`);
    Object.assign(this, { box: part(""), follow: part("-follow"), search: part("-search"), level: part("-level"), bar: part("-bar"), words: part("-words"), more: part("-more"), back: part("-back"), toEnd: part("-end") });
    this.address = `/api/runs/${runId}/log`;
    this.end = end;
    this.turn = 0;
    this.loading = false;
    this.mode = "tail";
    this.found = null;
    this.listen();
    this.scroll();
  }

  listen() {
    this.search.addEventListener("input", () => {
      clearTimeout(this.due);
      this.due = setTimeout(() => this.look(), SEARCH_AFTER_MS);
    });
    this.search.addEventListener("keydown", ({ key }) => { if (key === "Enter") this.look(); });
    this.level.addEventListener("change", () => this.look());
    this.follow.addEventListener("change", () => (this.follow.checked ? this.showEnd() : null));
    this.box.addEventListener("scroll", () => this.noticeScroll(), { passive: true });
    this.box.addEventListener("click", ({ target }) => this.open(target.closest("[data-end]:not(.log-block)")));
    this.box.addEventListener("keydown", (event) => this.press(event));
    this.more.addEventListener("click", () => this.goOn());
    this.back.addEventListener("click", () => this.showFound());
    this.toEnd.addEventListener("click", () => this.leaveSearch());
  }

  // ------------------------------------------------------------------ what arrives

  add({ lines, skipped_bytes: skipped, cursor }) {
    const start = this.end;
    this.end = cursor.after_log;
    this.box.querySelector("[data-log-empty]")?.remove();
    if (this.mode === "found") this.addFound(lines);
    if (this.mode !== "tail") return;
    const told = skipped ? [`… ${size(skipped)} are left out here; scroll up to read them …`, ...lines] : lines;
    this.box.append(block(told, start + (skipped ?? 0), this.end));
    this.drop("firstElementChild");
    this.scroll();
  }

  // Lines that come while a search is shown, and fit it, stand at its end.
  addFound(lines) {
    const [text, level] = [this.search.value.toLowerCase(), this.level.value];
    const fitting = lines.filter((line) => line.toLowerCase().includes(text) && hasLevel(line, level));
    this.box.append(...fitting.map((line) => lineNode(line, "span", text)));
  }

  // ------------------------------------------------------------------ reading on

  blocks() {
    return [...this.box.querySelectorAll(".log-block")];
  }

  noticeScroll() {
    if (this.mode === "found") return;
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const below = scrollHeight - scrollTop - clientHeight;
    if (this.mode === "tail") this.follow.checked = below < NEAR_PX;
    if (scrollTop < NEAR_PX) this.loadOlder();
    else if (below < NEAR_PX) this.loadNewer();
  }

  async loadOlder() {
    const first = this.blocks()[0];
    const start = Number(first?.dataset.start);
    if (!start || this.loading) return;
    const part = await this.ask({ before: start, tail: PART_LINES });
    if (!part?.lines.length || this.blocks()[0] !== first) return;
    const height = this.box.scrollHeight;
    this.box.prepend(block(part.lines, part.start, part.end));
    this.box.scrollTop += this.box.scrollHeight - height;
    // What lies far below is read again when one comes back to it.
    if (this.drop("lastElementChild")) this.show("context");
  }

  async loadNewer() {
    const last = this.blocks().at(-1);
    if (this.mode !== "context" || this.loading || !last) return;
    const part = await this.ask({ after: Number(last.dataset.end), tail: PART_LINES });
    if (!part || this.blocks().at(-1) !== last) return;
    if (part.lines.length) this.box.append(block(part.lines, part.start, part.end));
    this.drop("firstElementChild");
    if (part.end >= this.end && !this.found) this.show("tail");
  }

  async ask(parameters) {
    this.loading = true;
    const answer = await fetchJson(`${this.address}?${new URLSearchParams(parameters)}`);
    this.loading = false;
    return answer;
  }

  // Keep the number of lines bounded; true if any went.
  drop(end) {
    let lines = this.blocks().reduce((sum, one) => sum + one.childElementCount, 0);
    let dropped = false;
    while (lines > MOST_LINES && this.box.childElementCount > 1) {
      lines -= this.box[end].childElementCount;
      this.box[end].remove();
      dropped = true;
    }
    return dropped;
  }

  scroll() {
    if (this.follow.checked && this.mode === "tail") this.box.scrollTop = this.box.scrollHeight;
  }

  // ------------------------------------------------------------------ searching

  async look() {
    clearTimeout(this.due);
    if (!this.search.value && this.level.value === "all") {
      await this.leaveSearch();
      return;
    }
    this.found = { matches: [], next: null };
    this.turn += 1;
    await this.searchOn(null);
  }

  goOn() {
    return this.searchOn(this.found.next);
  }

  async searchOn(before) {
    const turn = this.turn;
    let next = before;
    for (let round = 0; round < MOST_ROUNDS; round += 1) {
      const answer = await fetchJson(`${this.address}?${this.query(next)}`);
      // An answer to an older question is not shown.
      if (turn !== this.turn) return;
      if (!answer) {
        this.words.textContent = "The server does not answer";
        return;
      }
      this.found = { ...answer, matches: [...answer.matches, ...this.found.matches] };
      this.showFound();
      next = answer.next;
      if (next == null || answer.matches.length) return;
    }
  }

  query(before) {
    return new URLSearchParams({ q: this.search.value, level: this.level.value, ...(before != null && { before }) });
  }

  showFound() {
    const { matches, next, searched_from: from, size: whole } = this.found;
    this.show("found");
    this.box.replaceChildren(...matches.map((match) => matchNode(match, this.search.value)));
    const searched = next == null ? "the whole log" : `${size(whole - from)} of ${size(whole)}`;
    this.words.textContent = `${matches.length ? plural(matches.length, "line") : "Nothing"} found; searched ${searched}`;
    this.more.hidden = next == null;
    this.box.scrollTop = this.box.scrollHeight;
  }

  async leaveSearch() {
    this.search.value = "";
    this.level.value = "all";
    this.found = null;
    this.turn += 1;
    await this.showEnd();
  }

  async showEnd() {
    const turn = this.turn;
    if (this.mode !== "tail") {
      const part = await this.ask({ before: this.end, tail: PART_LINES });
      if (!part || turn !== this.turn) return;
      this.box.replaceChildren(block(part.lines, part.start, part.end));
      this.show("tail");
    }
    this.follow.checked = true;
    this.scroll();
  }

  // What stands around a line that was found.
  async open(match) {
    if (!match || this.mode !== "found") return;
    const [start, end] = [Number(match.dataset.start), Number(match.dataset.end)];
    const turn = this.turn;
    const [before, after] = await Promise.all([this.ask({ before: end + 1, tail: CONTEXT_LINES }), this.ask({ after: end + 1, tail: CONTEXT_LINES })]);
    if (!before || !after || turn !== this.turn) return;
    const [above, below] = [block(before.lines, before.start, before.end), block(after.lines, after.start, after.end)];
    this.show("context");
    this.words.textContent = match.dataset.line ? `Around line ${match.dataset.line}` : `Around byte ${start}`;
    this.box.replaceChildren(above, below);
    above.lastElementChild?.classList.add("log-line-found");
    above.lastElementChild?.scrollIntoView({ block: "center" });
    this.box.focus();
  }

  press(event) {
    const match = event.target.closest?.("button.log-line");
    if (!match) return;
    const next = { ArrowUp: match.previousElementSibling, ArrowDown: match.nextElementSibling }[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  // tail: the end of the log; found: what a search found; context: a part further up.
  show(mode) {
    this.mode = mode;
    this.bar.hidden = mode === "tail";
    this.back.hidden = !(mode === "context" && this.found);
    this.more.hidden = true;
    if (mode === "context" && !this.found) this.words.textContent = "An older part of the log";
    if (mode !== "tail") this.follow.checked = false;
  }
}

function block(lines, start, end) {
  const node = document.createElement("div");
  node.className = "log-block";
  node.dataset.start = start;
  node.dataset.end = end;
  node.append(...lines.map((line) => lineNode(line)));
  return node;
}

function lineNode(line, tag = "span", sought = "") {
  const node = document.createElement(tag);
  node.className = "log-line";
  node.dataset.level = levelOf(line);
  const stamp = stampOf(line, sought);
  if (stamp) node.append(timeOf(stamp));
  node.append(...parts(line.slice(stamp.length), sought).map(([text, found]) => (found ? marked(text) : text)));
  return node;
}

// When a line was written, where that may be shown short: what was sought in it is shown in full.
export function stampOf(line, sought = "") {
  const stamp = STAMP.exec(line)?.[0] ?? "";
  return sought && stamp.toLowerCase().includes(sought.toLowerCase()) ? "" : stamp;
}

// The time of day; the exact moment on hover. The same is done by webapp/presenting.py.
function timeOf(stamp) {
  const node = document.createElement("time");
  Object.assign(node, { dateTime: stamp, title: stamp, textContent: stamp.slice(11, 19) });
  return node;
}

function marked(text) {
  const mark = document.createElement("mark");
  mark.textContent = text;
  return mark;
}

function matchNode({ line, start, end, text }, sought) {
  const node = lineNode(text, "button", sought);
  node.type = "button";
  node.title = "Show what stands around it";
  Object.assign(node.dataset, { start, end, ...(line != null && { line }) });
  return node;
}

// A line cut where it says what was sought, in any case: [text, whether it is that].
export function parts(line, sought) {
  const [text, wanted] = [line.toLowerCase(), sought.toLowerCase()];
  // A letter may change its length with its case; then no place in one is a place in the other.
  if (!wanted || text.length !== line.length) return [[line, false]];
  const cut = [];
  let from = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, from)) {
    if (at > from) cut.push([line.slice(from, at), false]);
    from = at + wanted.length;
    cut.push([line.slice(at, from), true]);
  }
  if (from < line.length) cut.push([line.slice(from), false]);
  return cut;
}

function hasLevel(line, level) {
  const found = levelOf(line);
  return level === "all" || found === "error" || (level === "warning" && found === "warning");
}

export function levelOf(line) {
  const word = line.split(" ", 2)[1];
  if (word === "WARNING") return "warning";
  return word === "ERROR" || word === "CRITICAL" ? "error" : "info";
}
