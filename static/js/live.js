// The page's one live connection, what it says of itself, and the cursors that make it gapless.

import { io } from "../vendor/socket.io.esm.min.js";
import { duration } from "./formats.js";
import { holdForms } from "./holding.js";

const GONE_AFTER_MS = 4000;
const HIDDEN_AFTER_MS = 5000;
const WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", gone: "Server gone" };

const mark = document.getElementById("connection");
const outage = document.getElementById("outage");
const subscriptions = new Set();
let freshAt = Date.now();
let lostAt = null;
let hidden = false;
let hiding = null;

export const socket = io({
  transports: ["websocket", "polling"],
  tryAllTransports: true,
  reconnectionDelay: 300,
  reconnectionDelayMax: 2500,
  randomizationFactor: 0.3,
  timeout: 5000,
});

socket.on("connect", () => {
  lostAt = null;
  freshAt = Date.now();
  for (const subscribe of subscriptions) subscribe();
  show();
});
socket.on("disconnect", lost);
socket.on("connect_error", lost);
socket.onAny(() => { freshAt = Date.now(); });
setInterval(show, 1000);

function lost() {
  lostAt ??= Date.now();
  show();
}

function state() {
  if (socket.connected) return "live";
  if (lostAt === null) return "connecting";
  return Date.now() - lostAt < GONE_AFTER_MS ? "reconnecting" : "gone";
}

function show() {
  const now = state();
  const age = duration((Date.now() - freshAt) / 1000);
  if (mark.dataset.state !== now) {
    mark.dataset.state = now;
    document.body.dataset.connection = now;
    outage.hidden = now !== "gone";
    holdForms(now === "gone");
  }
  // The state is announced when it changes; its age, which changes every second, is only seen.
  const node = mark.querySelector("[data-connection-words]");
  if (node.textContent !== WORDS[now]) node.textContent = WORDS[now];
  mark.querySelector("[data-connection-age]").textContent = now === "gone" ? age : "";
  mark.title = now === "live" ? "Numbers arrive as they are made" : `The numbers are ${age} old`;
  if (now === "gone") outage.querySelector("[data-outage-age]").textContent = `The numbers are ${age} old.`;
}

// A page that nobody looks at is sent next to nothing, and goes on where it stood when it is shown.
function look() {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(() => setHidden(true), HIDDEN_AFTER_MS);
  else setHidden(false);
}

function setHidden(now) {
  if (hidden === now) return;
  hidden = now;
  if (socket.connected) for (const subscribe of subscriptions) subscribe();
}

document.addEventListener("visibilitychange", look);
look();

// Run now when connected, and again after each reconnection.
function subscribe(ask) {
  subscriptions.add(ask);
  if (socket.connected) ask();
}

// Watch one run from a cursor, which every message moves on; hidden, its state alone, for the title.
// only: "metrics" leaves out log, samples, readings and events.
// What it returns ends that.
export function watchRun(runId, cursor, handlers, only = null) {
  const kept = { ...cursor };
  const listeners = Object.entries(handlers).map(([event, handle]) => [event, (message) => {
    if ((message.run_id ?? runId) !== runId) return;
    Object.assign(kept, message.cursor);
    handle(message);
  }]);
  for (const [event, listener] of listeners) socket.on(event, listener);
  const ask = () => socket.emit("watch", { run_id: runId, ...kept, only: hidden ? "state" : only });
  subscribe(ask);
  return () => {
    subscriptions.delete(ask);
    for (const [event, listener] of listeners) socket.off(event, listener);
    socket.emit("unwatch", { run_id: runId });
  };
}

// Watch the list of runs as it was at a time; hidden, not at all, unless evenHidden() says so.
export function watchRuns(since, handle, evenHidden = () => false) {
  let known = since;
  socket.on("runs", (message) => {
    known = new Date().toISOString();
    handle(message);
  });
  subscribe(() => (hidden && !evenHidden() ? socket.emit("unwatch_runs", {}) : socket.emit("watch_runs", { since: known })));
}
