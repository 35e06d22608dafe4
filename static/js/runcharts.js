// Which charts the page of a run has, and what is drawn and marked in each.

import { count, fixed, grouped, learningRate, loss, perplexity, size } from "./formats.js";

const BYTE_STEPS = Array.from({ length: 24 }, (_, i) => 2 ** (20 + i));
const SAVES = new Set(["saved", "saved-again"]);

const percentage = (value) => (value == null ? "–" : `${Math.round(value)} %`);
const degrees = (value) => (value == null ? "–" : `${Math.round(value)} °C`);
const watts = (value) => (value == null ? "–" : `${Math.round(value)} W`);
const norm = (value) => (value == null ? "–" : fixed(value, 3));

// curves: RunCurves of this run; readings: of its machine; marks(): what is marked in the loss.
export function runCharts(curves, readings, marks) {
  const trained = (series, label, token, format, more = {}) => ({
    label, token, format, series, columns: (axis) => curves.drawn(series, axis), counts: () => curves.counts(series), ...more,
  });
  const read = (field, label, token, format) => ({
    label, token, format, columns: (axis) => readings.drawn(field, placeOf(curves.history, axis)), counts: () => readings.counts(field),
  });
  return {
    loss: {
      curves: [
        trained("train_loss", "Training", "--curve-train", loss, { smooth: true, short: "training" }),
        trained("val_loss", "Validation", "--curve-validation", loss, { points: true, short: "validation" }),
      ],
      canBeLogarithmic: true,
      marks,
      unit: "Nats a token",
    },
    learning_rate: { curves: [trained("learning_rate", "Learning rate", "--curve-violet", learningRate)], fromZero: true, axisFormat: learningRate },
    grad_norm: { curves: [trained("grad_norm", "Gradient norm", "--curve-teal", norm, { smooth: true })], fromZero: true },
    throughput: { curves: [trained("tokens_per_second", "Tokens a second", "--curve-green", count, { smooth: true })], fromZero: true, axisFormat: count, unit: "Tokens a second" },
    perplexity: { curves: [trained("val_word_perplexity", "Word perplexity", "--curve-validation", perplexity, { points: true })], axisFormat: count, awaits: "evaluation" },
    gpu_utilization: { curves: [read("gpu_utilization", "GPU use", "--curve-green", percentage)], range: () => [0, 100], axisFormat: percentage },
    gpu_memory: { curves: [read("gpu_memory_bytes", "GPU memory", "--curve-pink", size)], range: () => [0, readings.newest("gpu_memory_total_bytes") ?? 0], incrs: BYTE_STEPS, axisFormat: size },
    gpu_temperature: { curves: [read("gpu_temperature_c", "Temperature", "--curve-red", degrees)], leastSpan: 20, axisFormat: grouped, unit: "Degrees Celsius" },
    gpu_power: { curves: [read("gpu_power_w", "Power", "--curve-gold", watts)], fromZero: true, axisFormat: grouped, unit: "Watts" },
    cpu: { curves: [read("cpu_percent", "Processor", "--curve-teal", percentage)], range: () => [0, 100], axisFormat: percentage },
    memory: {
      curves: [read("ram_bytes", "Machine", "--curve-violet", size), read("process_ram_bytes", "This run", "--curve-train", size)],
      fromZero: true,
      incrs: BYTE_STEPS,
      axisFormat: size,
    },
  };
}

// Where a time lies on an axis; before the first step there is only the time.
function placeOf(history, axis) {
  if (axis === "time" || !history.lastStep()) return null;
  return (seconds) => history.translate(seconds, "time", axis);
}

export function isSave({ kind }) {
  return SAVES.has(kind);
}

// Saved checkpoints, resumes and the best evaluation, each with what is said of it, and with its
// place across where an evaluation of its step tells that.
export function marksOf(events, judged) {
  const places = new Map(judged.step.map((step, i) => [step, placeIn(judged, i)]));
  const marks = events.filter(({ step }) => step != null).flatMap((event) => {
    const { kind, step, message } = event;
    if (isSave(event)) return [{ kind: "checkpoint", step, at: places.get(step), words: `step ${grouped(step)}: ${message}` }];
    return kind === "resumed" ? [{ kind, step, words: message }] : [];
  });
  const best = judged.value.reduce((low, value, i) => (low < 0 || value < judged.value[low] ? i : low), -1);
  if (best >= 0) marks.push({ kind: "best", step: judged.step[best], at: placeIn(judged, best), value: judged.value[best], words: `best evaluation: ${loss(judged.value[best])} at step ${grouped(judged.step[best])}` });
  return marks;
}

function placeIn({ tokens, elapsed_seconds: time, epoch }, i) {
  return { tokens: tokens[i], time: time[i], epoch: epoch[i] };
}

// ---------------------------------------------------------------------- other runs laid over

// The first two colours belong to the page's own loss; the last ones to others of its charts.
const OVERLAY_TOKENS = ["pink", "gold", "red", "teal", "green", "violet"];
const DASHES = [6, 4];

// The colour of one more overlaid run.
export function overlayToken(taken) {
  return OVERLAY_TOKENS.map((name) => `--curve-${name}`).find((token) => !taken.includes(token));
}

// Dashed where evaluations are joined, or where the page's own curve has the same colour.
export function overlayDash(curve, token) {
  return curve.points || curve.token === token ? DASHES : undefined;
}
