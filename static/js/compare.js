// The compare page: one curve a run, laid over each other.

import { Chart } from "./chart.js";
import { ChartView } from "./chartview.js";
import { loss } from "./formats.js";
import { History } from "./series.js";
import { onAction } from "./shortcuts.js";

const TOKENS = ["train", "validation", "violet", "teal", "pink", "green", "gold", "red"];
const POINTS = 1500;
const SERIES = { train_loss: { smooth: true }, val_loss: { points: true } };

const data = document.getElementById("page-data");
const view = new ChartView("compare", "Compared runs");

async function historyOf(runId) {
  const history = new History();
  const response = await fetch(`/api/runs/${runId}/metrics?series=train_loss,val_loss&points=${POINTS}`);
  if (response.ok) history.merge({ after_step: null, series: (await response.json()).series });
  return history;
}

function curvesOf(runs, histories, series) {
  return runs.map((run, i) => ({
    label: run.name || run.run_id,
    token: `--curve-${TOKENS[i % TOKENS.length]}`,
    // Past eight runs the colours come round again, dashed.
    dash: i >= TOKENS.length ? [6, 4] : undefined,
    format: loss,
    columns: (axis) => histories[i].drawn(series, axis),
    ...SERIES[series],
  }));
}

async function begin() {
  const { runs } = JSON.parse(data.textContent);
  const histories = await Promise.all(runs.map((run) => historyOf(run.run_id)));
  view.translate = (value, from, to) => histories[0].translate(value, from, to);
  view.bindTools(document.getElementById("chart-tools"));
  for (const element of document.querySelectorAll("[data-chart]")) {
    const curves = curvesOf(runs, histories, element.dataset.series);
    view.add(new Chart(element, curves, view, { canBeLogarithmic: true, named: true, waitingWords: () => "None of these runs has a point yet" }));
  }
  onAction("log-axis", () => view.switchLogarithmic());
  onAction("reset-zoom", () => view.resetZoom());
  view.refresh();
}

if (data) begin();
