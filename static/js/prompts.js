// How a prompt is shown that may be a whole chapter: its end, and how much came before.

import { grouped } from "./formats.js";

export const MOST_PROMPT_SHOWN = 1200;

export function clipped(prompt, most = MOST_PROMPT_SHOWN) {
  const leftOut = prompt.length - most;
  return leftOut <= 0 ? prompt : `… ${grouped(leftOut)} characters before ${prompt.slice(-most)}`;
}
