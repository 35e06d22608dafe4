// The order of the theme switch: the first press is always seen, the third returns to the system.

import assert from "node:assert/strict";

const listeners = { addEventListener() {}, matches: false };
globalThis.document = { documentElement: { dataset: {} } };
globalThis.matchMedia = () => listeners;

const { nextTheme } = await import("./js/themes.js");

assert.deepEqual(["system", "dark", "light"].map((theme) => nextTheme(theme, false)), ["dark", "light", "system"]);
assert.deepEqual(["system", "light", "dark"].map((theme) => nextTheme(theme, true)), ["light", "dark", "system"]);
