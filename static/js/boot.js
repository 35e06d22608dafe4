// Loads htmx from its CDN once the page stands, and the vendored copy when the CDN does not answer.
(() => {
  const PATIENCE_MS = 300;
  const AWAY = "cdn-away";
  const source = document.getElementById("htmx-source");

  // Without a network nothing is asked for; a CDN that was away is not waited for at each page.
  function isAway() {
    return !navigator.onLine || remembered(() => sessionStorage.getItem(AWAY)) !== null;
  }

  function remembered(act) {
    try {
      return act();
    } catch {
      // Storage may be forbidden: each page then finds out for itself.
      return null;
    }
  }

  function load() {
    if (isAway()) {
      loadCopy();
      return;
    }
    const script = document.importNode(source.content.querySelector("script"), true);
    const impatience = setTimeout(() => fallBack(script), PATIENCE_MS);
    script.addEventListener("load", () => clearTimeout(impatience));
    script.addEventListener("error", () => {
      clearTimeout(impatience);
      fallBack(script);
    });
    document.head.append(script);
  }

  function fallBack(script) {
    // A script that belongs to another document never runs, even when it arrives late.
    document.implementation.createHTMLDocument("").adoptNode(script);
    remembered(() => sessionStorage.setItem(AWAY, "1"));
    loadCopy();
  }

  function loadCopy() {
    const copy = document.createElement("script");
    copy.src = source.dataset.fallback;
    document.head.append(copy);
  }

  if (document.readyState === "complete") load();
  else addEventListener("load", load);
})();
