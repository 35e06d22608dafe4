// Sets the chosen theme before the first paint; runs while the head is read, so it stays tiny.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {
    // Storage may be forbidden: the system's preference holds then.
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  document.documentElement.dataset.scripts = "on";
})();
