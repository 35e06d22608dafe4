// A text on the page whose tokens can be pressed: it grows as it is written, and can be taken back to an
// earlier place. What it shows is the text; its tokens are laid over it.

import { blocks, Cells, figure, inked, level, logprobOf } from "./tokens.js";

const NEAR_THE_END_PX = 40;
const CELLS_A_BLOCK = 300;
// The model needs the processor too, and nobody reads quicker than this.
const DRAW_EVERY_MS = 80;

export class TokenText {
  constructor(node) {
    this.node = node;
    this.places = new WeakMap();
    node.addEventListener("pointerover", ({ target }) => this.tell(target));
    this.clear();
  }

  // before: what stands there before the text.
  clear(...before) {
    this.cells = [];
    this.spans = [];
    this.text = "";
    this.drawn = 0;
    this.box = document.createElement("span");
    this.node.replaceChildren(...before);
    this.begin();
  }

  // More is written, after what stands.
  begin() {
    this.cutter = new Cells();
    this.waiting = [];
    this.start = this.text.length;
  }

  take(text, tokens = []) {
    this.text += text;
    this.waiting.push(...this.cutter.add(tokens));
    this.due ??= setTimeout(() => this.draw(), (this.drawnAt ?? 0) + DRAW_EVERY_MS - performance.now());
  }

  // The whole text that was written since begin() replaces the pieces: none can have been lost.
  settle(text) {
    this.text = this.text.slice(0, this.start) + text;
    this.waiting.push(...this.cutter.end());
    this.draw();
    // Of a token with the beginning of a stop text only what stands before that is in the text; of
    // the tokens after it nothing is.
    const rest = this.text.slice(this.drawn);
    if (rest) this.append([{ tokens: this.waiting[0]?.tokens ?? [], text: rest }]);
    this.waiting = [];
  }

  // Put a whole text there at once; what is out of view is then not laid out.
  show(tokens) {
    this.clear();
    const cells = [...this.cutter.add(tokens), ...this.cutter.end()];
    this.text = cells.map(({ text }) => text).join("");
    const groups = blocks(cells, CELLS_A_BLOCK);
    for (const group of groups) {
      this.box = document.createElement("span");
      if (groups.length > 1) this.box.className = "token-block";
      this.append(group);
    }
  }

  draw() {
    clearTimeout(this.due);
    this.due = null;
    this.drawnAt = performance.now();
    const follows = this.isAtTheEnd();
    this.append(this.arrived());
    const rest = this.text.slice(this.drawn);
    if (rest && !this.waiting.length) this.append([{ text: rest, tokens: [] }]);
    if (follows) this.node.scrollTop = this.node.scrollHeight;
  }

  // The tokens whose text has come: what may become a stop text is held back.
  arrived() {
    let end = this.drawn;
    let count = 0;
    while (count < this.waiting.length && end + this.waiting[count].text.length <= this.text.length) {
      end += this.waiting[count].text.length;
      count += 1;
    }
    return this.waiting.splice(0, count);
  }

  append(cells) {
    const spans = cells.map((cell) => this.span(cell));
    this.spans.push(...spans);
    this.box.append(...spans);
    if (!this.box.isConnected) this.node.append(this.box);
  }

  span(cell) {
    const span = document.createElement("span");
    this.drawn += cell.text.length;
    this.places.set(span, this.cells.push(cell) - 1);
    const strength = cell.tokens.length ? level(logprobOf(cell)) : 0;
    if (strength) {
      span.dataset.level = strength;
      span.append(...tinted(cell.text));
    } else span.textContent = cell.text;
    if (!cell.tokens.length) return span;
    span.className = "token";
    if (cell.chosen) span.dataset.chosen = "";
    return span;
  }

  isAtTheEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.node;
    return scrollHeight - scrollTop - clientHeight < NEAR_THE_END_PX;
  }

  // Take the text back to where a cell begins.
  cutAt(place) {
    for (const span of this.spans.splice(place)) span.remove();
    this.cells.splice(place);
    this.text = this.cells.map(({ text }) => text).join("");
    this.drawn = this.text.length;
    this.begin();
  }

  // Put a cell behind the text that nobody wrote but who chose it.
  put(cell) {
    this.text += cell.text;
    this.append([{ ...cell, chosen: true }]);
    this.begin();
  }

  // The cell that a node of the text shows, if it has tokens.
  placeOf(node) {
    const place = this.places.get(node.closest(".token"));
    return this.cells[place]?.tokens.length ? place : undefined;
  }

  // The nearest cell with tokens, from a place on in a direction, if there is one.
  placeFrom(place, step) {
    let at = place;
    while (this.cells[at] && !this.cells[at].tokens.length) at += step;
    return this.cells[at] ? at : undefined;
  }

  tell(node) {
    const place = this.placeOf(node);
    if (place !== undefined) this.spans[place].title ||= figure(logprobOf(this.cells[place]));
  }
}

// What is coloured of a token; the space before a word is pressed with it, but is no part of the colour.
function tinted(text) {
  const { lead, ink, sign } = inked(text);
  const node = document.createElement("span");
  Object.assign(node, { className: "ink", textContent: ink });
  if (sign) node.dataset.sign = sign;
  return [lead, node];
}
