// The small loss curves of the list: fetched in small parts, then grown by what comes in.

import { general } from "./formats.js";

const MOST_POINTS = 88;
const RUNS_A_REQUEST = 25;
const SIZE = { width: 88, height: 22, margin: 1.5 };

let loading = false;

// Fetch the curves that the page came without, from the top.
export async function loadSparklines(list) {
  if (loading) return;
  loading = true;
  for (;;) {
    const missing = [...list.querySelectorAll("[data-spark-missing]")].slice(0, RUNS_A_REQUEST);
    if (!missing.length) break;
    const ids = missing.map((svg) => svg.closest("tr").dataset.run);
    const query = new URLSearchParams(ids.map((id) => ["run", id]));
    const response = await fetch(`/runs/sparklines?${query}`).catch(() => null);
    const curves = response?.ok ? await response.json() : {};
    missing.forEach((svg, index) => {
      delete svg.dataset.sparkMissing;
      // What came in meanwhile stands behind what was fetched.
      draw(svg, [...read(curves[ids[index]] ?? ""), ...read(svg.dataset.spark)]);
    });
  }
  loading = false;
}

export function growSparkline(svg, value, step) {
  if (!svg || value == null) return;
  // A resumed run goes back: what lies past its step is void.
  draw(svg, [...read(svg.dataset.spark).filter(([at]) => at < step), [step, value]]);
}

function read(text) {
  return text.split(" ").filter(Boolean).map((pair) => pair.split(":").map(Number));
}

function draw(svg, points) {
  const kept = points.length > MOST_POINTS ? points.filter((_, i) => i % 2 !== points.length % 2) : points;
  svg.dataset.spark = kept.map(([at, one]) => `${at}:${general(one, 4)}`).join(" ");
  svg.firstElementChild.setAttribute("points", line(kept));
}

function line(points) {
  if (points.length < 2) return "";
  const values = points.map(([, value]) => value);
  const [low, first] = [Math.min(...values), points[0][0]];
  const [up, across] = [Math.max(...values) - low || 1, points.at(-1)[0] - first || 1];
  const { width, height, margin } = SIZE;
  return points.map(([step, value]) => {
    const x = margin + ((step - first) / across) * (width - 2 * margin);
    const y = margin + (1 - (value - low) / up) * (height - 2 * margin);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  }).join(" ");
}
