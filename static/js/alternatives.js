// The panel of a token: how likely it was, and what else could have stood there. Tokens are pressed,
// or reached with the arrow keys from the text that has the focus.

import { figure, logprobOf, share, visible, wholeText } from "./tokens.js";

const MARGIN_PX = 8;
const OF_A_BUTTON = ["role", "tabindex", "aria-label", "aria-haspopup", "aria-expanded"];
const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

export class Alternatives {
  // onTake(text, place, cell): go on from a place with another cell; without it nothing can be taken.
  constructor(panel, onTake = null) {
    Object.assign(this, { panel, onTake });
    this.node = null;
    this.list = panel.querySelector("[data-likeliest]");
    panel.addEventListener("click", ({ target }) => this.press(target.closest("button")));
    panel.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", ({ target }) => this.leave(target));
    addEventListener("resize", () => this.place());
    addEventListener("scroll", () => this.place(), { capture: true, passive: true });
  }

  get isOpen() {
    return this.panel.matches(":popover-open");
  }

  // Let the tokens of a text be pressed.
  watch(text) {
    text.node.addEventListener("click", ({ target }) => {
      const place = text.placeOf(target);
      if (place !== undefined && getSelection().isCollapsed) this.open(text, place);
    });
    text.node.addEventListener("keydown", (event) => this.keyInText(event, text));
  }

  keyInText(event, text) {
    const place = text.placeOf(event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in STEPS) this.step(event, text, place);
    else if (place !== undefined && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      this.open(text, place);
    } else this.key(event);
  }

  // Keys of the panel, and of the token that it belongs to.
  key(event) {
    if (!this.isOpen) return;
    if (event.key === "Escape") this.close();
    else if (event.key in STEPS) this.move(STEPS[event.key]);
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.walk(event.key === "ArrowDown" ? 1 : -1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  step(event, text, place) {
    const next = place === undefined ? text.placeFrom(0, 1) : text.placeFrom(place + STEPS[event.key], STEPS[event.key]);
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (this.isOpen) this.open(text, next);
    else this.focus(text, next);
  }

  move(step) {
    const next = this.text.placeFrom(this.at + step, step);
    if (next !== undefined) this.open(this.text, next);
  }

  // Up and down among the alternatives; up from the first, back to the token.
  walk(step) {
    const choices = [...this.list.querySelectorAll("button:not(:disabled)")];
    const next = choices.indexOf(document.activeElement) + step;
    if (next < 0) this.node.focus();
    else choices[next]?.focus();
  }

  // One token at a time is a button: a reader hears the others as the text that they are.
  focus(text, place) {
    this.forget();
    Object.assign(this, { text, at: place, node: text.spans[place] });
    const cell = text.cells[place];
    const words = `${cell.tokens.map(visible).join(" ")}: ${figure(logprobOf(cell))}`;
    const told = { role: "button", tabindex: 0, "aria-label": words, "aria-haspopup": "dialog", "aria-expanded": this.isOpen };
    for (const [name, value] of Object.entries(told)) this.node.setAttribute(name, value);
    this.node.focus({ preventScroll: this.isOpen });
    this.node.scrollIntoView({ block: "nearest" });
  }

  forget() {
    for (const name of OF_A_BUTTON) this.node?.removeAttribute(name);
  }

  open(text, place) {
    this.focus(text, place);
    this.fill(text.cells[place]);
    // After the text in the page, so that the tab key goes from the token into the panel.
    if (this.panel.previousElementSibling !== text.node) {
      if (this.isOpen) this.panel.hidePopover();
      text.node.after(this.panel);
    }
    if (!this.isOpen) this.panel.showPopover();
    this.node.setAttribute("aria-expanded", true);
    this.place();
  }

  close({ refocus = true } = {}) {
    if (!this.isOpen) return;
    this.panel.hidePopover();
    this.node.setAttribute("aria-expanded", false);
    if (refocus) this.node.focus();
  }

  leave(target) {
    if (this.isOpen && !this.panel.contains(target) && !this.text.node.contains(target)) this.close({ refocus: false });
  }

  // Beside the token where there is room; on a small screen the style sheet puts it at the bottom.
  place() {
    if (!this.isOpen) return;
    if (!this.node.isConnected) {
      this.close({ refocus: false });
      return;
    }
    const token = this.node.getClientRects()[0] ?? this.node.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height, style } = this.panel;
    const below = token.bottom + MARGIN_PX;
    const top = below + height + MARGIN_PX <= innerHeight ? below : Math.max(MARGIN_PX, token.top - height - MARGIN_PX);
    const left = Math.max(MARGIN_PX, Math.min(token.left, document.documentElement.clientWidth - width - MARGIN_PX));
    style.setProperty("--top", `${Math.round(top)}px`);
    style.setProperty("--left", `${Math.round(left)}px`);
    this.uncover();
  }

  // A panel at the bottom of a small screen may lie over its token.
  uncover() {
    const { bottom, top } = this.node.getBoundingClientRect();
    const edge = this.panel.getBoundingClientRect();
    const isCovered = edge.bottom >= innerHeight && bottom > edge.top && top < edge.bottom;
    if (isCovered) scrollBy(0, bottom - edge.top + 4 * MARGIN_PX);
  }

  fill(cell) {
    const logprob = logprobOf(cell);
    this.panel.querySelector("[data-token]").textContent = cell.tokens.map(visible).join(" ");
    this.panel.querySelector("[data-figure]").textContent = figure(logprob);
    // A character of several tokens: what could have stood in place of its first.
    this.first = cell.tokens[0];
    this.list.replaceChildren(...likeliest(this.first).map((one) => this.row(one)));
  }

  row(token) {
    const isIts = token.id === this.first.id;
    const text = wholeText(token);
    const node = document.createElement(this.onTake ? "button" : "div");
    node.className = "alternative";
    node.append(part("code", visible(token)), part("span", share(token.logprob)));
    node.style.setProperty("--share", String(Math.exp(token.logprob)));
    if (isIts) node.setAttribute("aria-current", "true");
    if (this.onTake) {
      node.type = "button";
      node.disabled = isIts || !text;
      node.title = hint(isIts, text);
      node.addEventListener("click", () => this.take({ text, tokens: [{ ...token, top: this.first.top }] }));
    }
    const item = document.createElement("li");
    item.append(node);
    return item;
  }

  take(cell) {
    const { text, at } = this;
    this.close({ refocus: false });
    text.node.focus();
    this.onTake(text, at, cell);
  }

  press(button) {
    if (button?.dataset.move) this.move(Number(button.dataset.move));
    else if (button?.dataset.closeAlternatives !== undefined) this.close();
  }
}

// The likeliest tokens, and the one that stands there where it is not among them.
function likeliest(token) {
  const top = token.top ?? [];
  return top.some(({ id }) => id === token.id) ? top : [...top, token];
}

function hint(isIts, text) {
  if (isIts) return "It stands there now";
  if (text === null) return "Part of a character: one cannot go on from it";
  return text ? "Write on from here with it instead" : "The end of the text: nothing follows it";
}

function part(name, words) {
  const node = document.createElement(name);
  node.textContent = words;
  return node;
}
