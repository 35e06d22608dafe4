// What the state of a run means in words and shares: the same rules as webapp/presenting.py.

import { countdown, countdownShort, duration, grouped, ordinal, paused, percent, plural, silence, timeLeft } from "./formats.js";

const NOTHING_SAVED = "It had done no step that was saved";
const ACTIVE = new Set(["queued", "preparing", "running", "stopping"]);

export function isActive(run) {
  return ACTIVE.has(run.status);
}

export function progressPercent(run) {
  if (run.status === "completed") return 100;
  if (run.step == null || !run.total_steps) return null;
  return Math.min(100, (100 * run.step) / run.total_steps);
}

export function percentDone(run) {
  const whole = progressPercent(run);
  if (whole != null || !run.progress) return whole;
  return percent(run.progress.done, run.progress.total);
}

export function percentWords(share) {
  return share == null ? "" : `${Math.trunc(share)} %`;
}

export function phaseWords(run) {
  const words = run.phase || run.status;
  const progress = run.progress;
  if (!progress) return words;
  const of = progress.total ? ` of ${grouped(progress.total)}` : "";
  return `${words}: ${grouped(progress.done)}${of} ${progress.unit}`;
}

export function phaseSentence(run, looks) {
  return isActive(run) ? phaseWords(run) : looks[run.status].word;
}

// What a list must not hide, in a word and in full: a pause, trouble, or files that are damaged.
export function warning(run) {
  if (run.paused) return ["paused", paused(run.process.pid)];
  if (run.trouble != null) return ["cannot be written", run.trouble];
  if (run.error?.kind === "store") return ["damaged", `${run.error.message} ${run.error.hint}`.trim()];
  if (run.damage?.length) return ["damaged", run.damage[0]];
  const told = run.warnings ?? [];
  return told.length ? [plural(told.length, "warning"), told.join(" ")] : null;
}

// The status as a list tells it: one whose process is held up does not run.
export function statusWord(run) {
  return run.paused && run.status !== "stopping" ? "paused" : run.status;
}

// What a row has to tell beside the status, in a few words and in full.
export function rowNote(run) {
  const left = run.stop?.seconds_left;
  if (run.paused && run.status !== "stopping") {
    return [`kill -CONT ${run.process.pid} lets it go on`, paused(run.process.pid)];
  }
  if (run.status === "stopping" && left != null) return [countdownShort(left), countdown(left)];
  const why = cause(run);
  if (run.trouble != null || run.damage?.length || !why) return warning(run) ?? presentPhase(run);
  return why;
}

function cause(run) {
  if (run.silent_seconds != null) return [`no word for ${duration(run.silent_seconds)}`, silence(run.silent_seconds)];
  if (isActive(run) || !run.error || run.error.kind === "store") return null;
  const first = run.error.message.split("\n")[0];
  const told = run.status === "interrupted" ? first.split(": ").at(-1) : first;
  return [told.replace(/\.+$/, ""), `${run.error.message} ${run.error.hint}`.trim()];
}

function presentPhase(run) {
  if (!isActive(run) || run.queue || !run.phase || ["training", run.status].includes(run.phase)) return null;
  return [run.phase, phaseWords(run)];
}

// What happened at the time a run was made: it was started, or has only been queued. One that was
// stopped while it was queued never learned the name of its device.
export function sinceWord(run) {
  if (run.step != null) return "started";
  const stopped = ["stopping", "stopped"].includes(run.status);
  return run.status === "queued" || (stopped && run.device_name == null) ? "queued" : "started";
}

// What to do about an error, but for what the sentence on the next step says better: to clone.
export function hintWords(run) {
  return (run.error?.hint ?? "").split(NOTHING_SAVED)[0].trim();
}

export function stepsWords(run) {
  if (run.step == null) return "";
  const of = run.total_steps ? ` of ${grouped(run.total_steps)}` : "";
  const words = `step ${grouped(run.step)}${of}`;
  if (run.epoch == null || !run.epochs) return words;
  return `${words} · epoch ${grouped(run.epoch)} of ${grouped(run.epochs)}`;
}

export function placeWords(run) {
  if (!run.queue) return "";
  const after = run.queue.after ? `, after ${run.queue.after}` : "";
  return `${ordinal(run.queue.position)} for ${run.queue.device}${after}`;
}

export function timeCell(run) {
  if (isActive(run) && run.eta_seconds != null) return timeLeft(run.eta_seconds);
  return duration(run.elapsed_seconds);
}

export function momentWords(moment) {
  let words = `Step ${grouped(moment.step)}`;
  if (moment.epoch != null) words += ` · epoch ${moment.epoch.toFixed(2)}`;
  if (moment.val_loss != null) words += ` · validation loss ${moment.val_loss.toFixed(4)}`;
  return words;
}

