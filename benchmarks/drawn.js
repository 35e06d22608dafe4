// Notes when curves reach the canvas of the loss chart, and when what they are made of had come.
// uPlot strokes curves as paths of their own (Path2D), grids and axes without one.
(() => {
  const seen = { strokes: [], answers: [], asked: 0, steps: [], released: null };
  window.benchmark = seen;

  const stroke = CanvasRenderingContext2D.prototype.stroke;
  CanvasRenderingContext2D.prototype.stroke = function (...path) {
    if (path.length && this.canvas.closest("[data-chart=loss], [data-series=train_loss]")) noteFrame();
    return stroke.apply(this, path);
  };

  let noted = false;
  function noteFrame() {
    if (noted) return;
    noted = true;
    // The callback before the next frame: this one has been handed over by then.
    requestAnimationFrame(() => { noted = false; seen.strokes.push(performance.now()); });
  }

  const fetch = window.fetch;
  window.fetch = async function (...request) {
    const curves = String(request[0]).includes("/metrics");
    if (curves) seen.asked += 1;
    const response = await fetch.apply(this, request);
    if (curves) {
      const json = response.json.bind(response);
      response.json = async () => { const body = await json(); seen.answers.push(performance.now()); return body; };
    }
    return response;
  };

  addEventListener("mouseup", () => { seen.released = performance.now(); }, true);

  // The newest step that the page shows, and when: read in the frame that paints it.
  document.addEventListener("DOMContentLoaded", () => {
    const place = document.querySelector("[data-steps]");
    if (!place) return;
    const read = () => {
      const step = Number((place.textContent.match(/[\d,]+/) || ["0"])[0].replaceAll(",", ""));
      requestAnimationFrame(() => seen.steps.push([step, Date.now()]));
    };
    new MutationObserver(read).observe(place, { childList: true, characterData: true, subtree: true });
  });
})();
