// The page's one live connection, what it says of itself, and the cursors that make it gapless.

import { io } from "../vendor/socket.io.esm.min.js";
import { duration } from "./formats.js";

const GONE_AFTER_MS = 4000;
const WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", gone: "Server gone" };

const mark = document.getElementById("connection");
const outage = document.getElementById("outage");
const subscriptions = new Set();
let freshAt = Date.now();
let lostAt = null;

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
  }
  const words = now === "gone" ? `${WORDS.gone} · ${age}` : WORDS[now];
  const node = mark.querySelector("[data-connection-words]");
  if (node.textContent !== words) node.textContent = words;
  mark.title = now === "live" ? "Numbers arrive as they are made" : `The numbers are ${age} old`;
  if (now === "gone") outage.querySelector("[data-outage-age]").textContent = `The numbers are ${age} old.`;
}

// Run now when connected, and again after each reconnection.
function subscribe(ask) {
  subscriptions.add(ask);
  if (socket.connected) ask();
}

// Watch one run from a cursor, which every message moves on.
export function watchRun(runId, cursor, handlers) {
  const kept = { ...cursor };
  for (const [event, handle] of Object.entries(handlers)) {
    socket.on(event, (message) => {
      if ((message.run_id ?? runId) !== runId) return;
      Object.assign(kept, message.cursor);
      handle(message);
    });
  }
  subscribe(() => socket.emit("watch", { run_id: runId, ...kept }));
}

// Watch the list of runs as it was at a time.
export function watchRuns(since, handle) {
  let known = since;
  socket.on("runs", (message) => {
    known = new Date().toISOString();
    handle(message);
  });
  subscribe(() => socket.emit("watch_runs", { since: known }));
}
