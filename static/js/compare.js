// The compare page: one curve a run, laid over each other. Runs are shown and hidden by their names,
// stand out while they are pointed at, and go on while they train.

import { Chart } from "./chart.js";
import { ChartView } from "./chartview.js";
import { count, learningRate, loss, perplexity } from "./formats.js";
import { watchRun, watchRuns } from "./live.js";
import { RunCurves } from "./runcurves.js";

// Together no more points than one chart can draw at leisure.
const MOST_POINTS = 16_000;
const POINTS_A_RUN = 1500;
const MOST_WATCHED = 16;
const TABLES_AFTER_MS = 2000;
// Past eight runs the colours come round again with other dashes; the names tell them apart too.
const RUN_TOKENS = ["train", "validation", "violet", "teal", "pink", "green", "gold", "red"];
const DASHES = [undefined, [8, 4], [2, 3]];
const FADED = "--chart-grid";
const SERIES = {
  val_loss: { points: true, format: loss },
  train_loss: { smooth: true, format: loss },
  val_word_perplexity: { points: true, format: perplexity, axisFormat: count },
  learning_rate: { format: learningRate, axisFormat: learningRate },
};
const LOGARITHMIC = new Set(["val_loss", "train_loss", "val_word_perplexity"]);
const ACTIVE = new Set(["queued", "preparing", "running", "stopping"]);

class ComparedRun {
  constructor(run, index, points, onChange) {
    this.runId = run.run_id;
    this.title = run.name || run.run_id;
    this.token = `--curve-${RUN_TOKENS[index % RUN_TOKENS.length]}`;
    this.dash = DASHES[Math.floor(index / RUN_TOKENS.length) % DASHES.length];
    this.active = ACTIVE.has(run.status);
    this.curves = new RunCurves(run.run_id, points, onChange);
    this.shown = true;
    this.faded = false;
    this.watched = false;
  }

  curve(series) {
    const run = this;
    return {
      label: run.title,
      get token() { return run.faded ? FADED : run.token; },
      dash: run.dash,
      columns: (axis) => run.curves.drawn(series, axis),
      counts: () => run.curves.counts(series),
      ...SERIES[series],
    };
  }
}

class ComparePage {
  constructor(data, since) {
    this.view = new ChartView("compare", "Compared runs");
    const points = Math.min(POINTS_A_RUN, Math.floor(MOST_POINTS / data.runs.length));
    this.runs = data.runs.map((run, i) => new ComparedRun(run, i, points, () => this.view.refresh()));
    this.since = since;
    this.list = document.getElementById("compare-runs");
    this.due = null;
  }

  async begin() {
    this.readHidden();
    this.view.translate = (value, from, to) => this.longest().translate(value, from, to);
    this.view.onZoom = (range) => this.runs.forEach(({ curves }) => curves.look(range, this.view.axis));
    this.view.bindTools(document.getElementById("chart-tools"));
    this.charts = [...document.querySelectorAll("[data-chart]")].map((element) => this.chart(element));
    this.listen();
    await Promise.all(this.runs.map(({ curves }) => curves.load(Object.keys(SERIES))));
    if (this.view.zoom) this.view.onZoom(this.view.zoom);
    this.view.refresh();
    this.watch();
  }

  chart(element) {
    const { series } = element.dataset;
    const chart = this.view.add(new Chart(element, this.curvesOf(series), this.view, {
      axisFormat: SERIES[series].axisFormat,
      canBeLogarithmic: LOGARITHMIC.has(series),
      named: true,
      waitingWords: () => (this.runs.some(({ shown }) => shown) ? "None of these runs has a point yet" : "All runs are hidden"),
    }));
    return { chart, series };
  }

  curvesOf(series) {
    return this.runs.filter(({ shown }) => shown).map((run) => run.curve(series));
  }

  // The run whose curve reaches farthest knows most of where a step lies on another axis.
  longest() {
    return this.runs.map(({ curves }) => curves.history).reduce((a, b) => ((b.lastStep() ?? -1) > (a.lastStep() ?? -1) ? b : a));
  }

  // ------------------------------------------------------------------ showing, hiding, pointing

  readHidden() {
    const hidden = new Set(new URLSearchParams(location.search).getAll("hide"));
    for (const run of this.runs) run.shown = !hidden.has(run.runId);
    this.showToggles();
  }

  writeHidden() {
    const address = new URL(location.href);
    address.searchParams.delete("hide");
    for (const run of this.runs) if (!run.shown) address.searchParams.append("hide", run.runId);
    history.replaceState(history.state, "", address);
  }

  showToggles() {
    for (const run of this.runs) this.node(run.runId).querySelector("[data-toggle]").setAttribute("aria-pressed", String(run.shown));
  }

  node(runId) {
    return this.list.querySelector(`[data-run="${CSS.escape(runId)}"]`);
  }

  runAt(target) {
    const runId = target.closest?.("[data-run]")?.dataset.run;
    return this.runs.find((run) => run.runId === runId);
  }

  toggle(run) {
    run.shown = !run.shown;
    run.faded = false;
    this.showToggles();
    this.writeHidden();
    for (const { chart, series } of this.charts) chart.setCurves(this.curvesOf(series));
  }

  // The others fade while one is pointed at or has the focus.
  point(run) {
    for (const one of this.runs) one.faded = Boolean(run?.shown) && one !== run;
    for (const { chart } of this.charts) chart.repaint();
  }

  listen() {
    this.list.addEventListener("click", (event) => {
      if (event.target.closest("[data-toggle]")) this.toggle(this.runAt(event.target));
    });
    for (const come of ["pointerover", "focusin"]) this.list.addEventListener(come, ({ target }) => this.point(this.runAt(target)));
    for (const go of ["pointerleave", "focusout"]) this.list.addEventListener(go, () => this.point(null));
  }

  // ------------------------------------------------------------------ while they train

  watch() {
    this.runs.filter(({ active }) => active).forEach((run) => this.follow(run));
    watchRuns(this.since, ({ runs, removed }) => {
      const told = new Set([...runs.map(({ run_id: runId }) => runId), ...removed]);
      const ours = this.runs.filter(({ runId }) => told.has(runId));
      if (!ours.length) return;
      for (const { run_id: runId, status } of runs) {
        const run = ours.find((one) => one.runId === runId);
        if (run && ACTIVE.has(status)) this.follow(run);
      }
      this.renewTables();
    });
  }

  follow(run) {
    if (run.watched || this.runs.filter(({ watched }) => watched).length >= MOST_WATCHED) return;
    run.watched = true;
    const step = run.curves.history.lastStep();
    watchRun(run.runId, step == null ? {} : { after_step: step }, {
      metrics: (message) => {
        run.curves.merge({ ...message, series: ofInterest(message.series) });
        this.view.refresh();
      },
    }, "metrics");
  }

  renewTables() {
    this.due ??= setTimeout(() => {
      this.due = null;
      document.body.dispatchEvent(new Event("compare-stale"));
    }, TABLES_AFTER_MS);
  }
}

function ofInterest(series) {
  return Object.fromEntries(Object.entries(series).filter(([name]) => name in SERIES));
}

// Another set of runs keeps the rest of the view: axis, smoothing, zoom, what is hidden.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[data-add], a[data-remove]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const address = new URL(location.href);
  const others = new URL(link.href).searchParams.getAll("run");
  for (const name of ["run", "q"]) address.searchParams.delete(name);
  for (const runId of others) address.searchParams.append("run", runId);
  location.assign(address);
});

const allSettings = document.querySelector("[data-all-settings]");
function showSettings() {
  for (const row of document.querySelectorAll("[data-alike]")) row.hidden = !allSettings.checked;
}
allSettings?.addEventListener("change", showSettings);

const data = document.getElementById("page-data");
if (data) {
  showSettings();
  new ComparePage(JSON.parse(data.textContent), document.body.dataset.since).begin();
}
