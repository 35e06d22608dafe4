// Loads htmx from its CDN once the page stands, and the vendored copy when the CDN does not answer.
(() => {
  const PATIENCE_MS = 300;
  const source = document.getElementById("htmx-source");

  function load() {
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
    const copy = document.createElement("script");
    copy.src = source.dataset.fallback;
    document.head.append(copy);
  }

  if (document.readyState === "complete") load();
  else addEventListener("load", load);
})();
