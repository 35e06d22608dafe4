// The new-run form: keeps the folded preview as it was, and says which device would be taken.

const plan = document.getElementById("plan");
let unfolded = false;

plan.addEventListener("toggle", (event) => { unfolded = event.target.open; }, true);
plan.addEventListener("htmx:afterSwap", () => {
  const fold = document.getElementById("toml-fold");
  if (fold) fold.open = unfolded;
});

// A mistake is easiest mended where it is.
document.querySelector("[aria-invalid=true]")?.focus();

async function tellDevices() {
  const response = await fetch("/api/devices", { headers: { Accept: "application/json" } }).catch(() => null);
  if (!response?.ok) return;
  const { devices, auto } = await response.json();
  const options = document.getElementById("device-preference-list");
  const known = new Set([...options.children].map((option) => option.value));
  for (const { id } of devices) {
    if (!known.has(id)) options.append(new Option(id, id));
  }
  const help = document.getElementById("device-preference-help");
  help.append(` Here auto takes ${auto.name} (${auto.device}).`);
}

tellDevices();
