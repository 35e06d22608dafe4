// How the playground puts it: a prompt that may be a whole chapter, and a checkpoint that is gone.

import { grouped } from "./formats.js";

export const MOST_PROMPT_SHOWN = 1200;

export function clipped(prompt, most = MOST_PROMPT_SHOWN) {
  const leftOut = prompt.length - most;
  return leftOut <= 0 ? prompt : `… ${grouped(leftOut)} characters before ${prompt.slice(-most)}`;
}

// label, others: how the choice names the checkpoint, and those of its run that are left.
export function goneWords(label, others) {
  const [run, checkpoint] = label.split(" · ");
  const names = others.map((one) => one.split(" · ")[1]);
  const left = [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" or ");
  return { message: `${checkpoint} of ${run} is no longer there.`, hint: left ? `Choose another checkpoint above: ${left}.` : "Choose another model above." };
}

// The end of a prompt, from the beginning of a word on.
export function promptEnd(prompt, most = 80) {
  if (prompt.length <= most) return prompt;
  return `… ${prompt.slice(-most).replace(/^\S*\s+(?=\S)/, "")}`;
}

// What a text was written with, in words.
export function writtenWith({ settings, seed }, model) {
  const temperature = settings?.temperature;
  return [model, temperature == null ? "" : `temperature ${temperature}`, seed == null ? "" : `seed ${seed}`].filter(Boolean).join(" · ");
}
