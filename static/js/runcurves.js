// The curves of one run as a page draws them: its history, and the details of the part in view.

import { Details } from "./details.js";
import { fetchJson } from "./fetching.js";
import { History } from "./series.js";

export class RunCurves {
  constructor(runId, points, onChange) {
    this.runId = runId;
    this.points = points;
    this.history = new History();
    this.onChange = onChange;
    this.series = null;
    this.details = new Details((from, to, most) => this.ask({ from, to, points: most }), (known) => {
      if (known) this.history.setDetails(known.from, known.to, known.series);
      else this.history.clearDetails();
      this.detailed = known;
      onChange();
    }, points);
  }

  ask(parameters) {
    const query = new URLSearchParams({ ...parameters, ...(this.series && { series: this.series.join(",") }) });
    return fetchJson(`/api/runs/${this.runId}/metrics?${query}`);
  }

  // Read the whole history, coarsely; null when there is no answer. series: only these.
  async load(series = null) {
    this.series = series;
    const answer = await this.ask({ points: this.points });
    if (answer) this.history.merge({ after_step: null, series: answer.series });
    return answer;
  }

  // Put a delta behind what is known; a resumed run goes back.
  merge(message) {
    const before = this.history.lastStep();
    if (this.history.merge(message)) this.reload();
    if (message.after_step != null && before != null && message.after_step < before) {
      this.details.forgetAfter(message.after_step, this.history.lastStep());
    }
  }

  // A resume went back into the middle of a coarse point.
  async reload() {
    const answer = await this.ask({ points: this.points });
    if (!answer) return;
    this.history.rebase(answer.series);
    this.onChange();
  }

  // Look at a part of an axis, or (null) at the whole.
  look(range, axis) {
    const steps = range?.map((x) => (axis === "step" ? x : this.history.translate(x, axis, "step")));
    const known = steps?.every((step) => step != null);
    this.details.look(known ? [Math.max(0, Math.floor(steps[0])), Math.ceil(steps[1])] : null, this.history.lastStep());
  }

  drawn(series, axis) {
    return this.history.drawn(series, axis);
  }

  // How many points are drawn of how many there are: in the part in view, or in all.
  counts(series) {
    const fine = this.detailed?.series[series];
    if (fine) return { drawn: fine.points, there: fine.of };
    const drawn = this.history.columns(series).step.length;
    return { drawn, there: this.history.counts.get(series) ?? drawn };
  }
}
