// The browser's formats against the table that tests/webapp/test_presenting.py holds Python to.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as formats from "./js/formats.js";
import * as runstate from "./js/runstate.js";

const cases = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const at = Date.parse("2026-01-02T03:04:05.000Z");
const functions = {
  ...formats.FORMATS,
  time_left: formats.timeLeft,
  ordinal: formats.ordinal,
  plural: (number) => formats.plural(number, "warning"),
  since: runstate.sinceWord,
  hint: (hint) => runstate.hintWords({ error: { hint } }),
  event: formats.eventWords,
  countdown: formats.countdown,
  countdown_short: formats.countdownShort,
  note: runstate.rowNote,
  silence: formats.silence,
  paused: formats.paused,
  percent: ([part, whole]) => formats.percent(part, whole),
  age: (stamp) => formats.age(stamp, at),
};

for (const [name, pairs] of Object.entries(cases)) {
  if (name === "states") continue;
  for (const [value, expected] of pairs) {
    assert.deepEqual(functions[name](value), expected, `${name}(${JSON.stringify(value)})`);
  }
}

const looks = Object.fromEntries(
  ["queued", "completed", "failed"].map((status) => [status, { word: status[0].toUpperCase() + status.slice(1) }]),
);
for (const { state, ...expected } of cases.states) {
  const share = runstate.percentDone(state);
  assert.deepEqual({
    percent: share,
    percent_words: runstate.percentWords(share),
    phase: runstate.phaseSentence(state, looks),
    steps: runstate.stepsWords(state),
    place: runstate.placeWords(state),
    time: runstate.timeCell(state),
  }, expected, JSON.stringify(state));
}

assert.deepEqual([0, 61.6, 3725].map(formats.clock), ["0:00:00", "0:01:02", "1:02:05"]);
