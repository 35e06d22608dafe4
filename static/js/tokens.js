// Tokens as people read them: the same rules as trainer/inference/surprise.py and webapp/tinting.py,
// held together by one shared test.

import { fixed, significant } from "./formats.js";

export const LEVEL_BITS = [3, 6, 9, 12];
const VISIBLE = { " ": "·", "\n": "↵", "\t": "→" };
const UNSEEN = /[\p{C}\p{Z}]/u;

export function bits(logprob) {
  return Math.max(0, -logprob / Math.LN2);
}

export function level(logprob) {
  const surprise = bits(logprob);
  return LEVEL_BITS.filter((least) => surprise >= least).length;
}

export function share(logprob) {
  const percent = 100 * Math.exp(Math.min(0, logprob));
  if (percent < 0.01) return "< 0.01 %";
  return `${percent >= 9.95 ? fixed(percent, 0) : significant(percent, 2)} %`;
}

export function figure(logprob) {
  return `${share(logprob)} · ${fixed(bits(logprob), 1)} bits`;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// The text of a token by itself, or null where its bytes make no whole characters.
export function wholeText({ bytes }) {
  try {
    return strict.decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

// Each character to be seen: spaces, breaks, broken ones. The mark that ends a text has no bytes.
export function visible(token) {
  if (token.bytes.length === 0) return "end of text";
  const text = wholeText(token);
  if (text === null) return token.bytes.map((byte) => named(byte)).join("");
  return [...text].map((one) => VISIBLE[one] ?? (UNSEEN.test(one) ? named(one.codePointAt(0)) : one)).join("");
}

function named(code) {
  return `<${code.toString(16).toUpperCase().padStart(2, "0")}>`;
}

// A text without the white space that it begins with, which is not tinted; white space alone is told by a sign.
export function inked(text) {
  const lead = text.match(/^[ \t\n]*/)[0];
  if (lead !== text) return { lead, ink: text.slice(lead.length), sign: "" };
  return { lead: "", ink: text, sign: [...text].map((one) => VISIBLE[one]).join("") };
}

// Cells in groups that can be laid out one without the other: each but the last ends with a line.
export function blocks(cells, least) {
  const groups = [];
  let begun = 0;
  cells.forEach(({ text }, index) => {
    if (index + 1 - begun < least || !text.endsWith("\n")) return;
    groups.push(cells.slice(begun, index + 1));
    begun = index + 1;
  });
  if (begun < cells.length) groups.push(cells.slice(begun));
  return groups;
}

// Cuts tokens that come one after another into cells: { text, tokens }. A cell is a token, or the
// tokens that make a character together.
export class Cells {
  constructor() {
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    this.tokens = [];
  }

  add(tokens) {
    const cells = [];
    for (const token of tokens) {
      this.tokens.push(token);
      const text = this.decoder.decode(new Uint8Array(token.bytes), { stream: true });
      if (text) cells.push(this.cut(text));
    }
    return cells;
  }

  // What is left when no token follows: a character that was never finished.
  end() {
    const text = this.decoder.decode();
    return text ? [this.cut(text)] : [];
  }

  cut(text) {
    const cell = { text, tokens: this.tokens };
    this.tokens = [];
    return cell;
  }
}

export function logprobOf({ tokens }) {
  return tokens.reduce((sum, { logprob }) => sum + logprob, 0);
}
