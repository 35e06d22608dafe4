// What is wrong with a page as it lies on the screen; runs in the page, returns sentences.
(leastTarget) => {
  const found = [];
  const name = (node) => `${node.tagName.toLowerCase()}${node.id ? "#" + node.id : ""}`
    + `${typeof node.className === "string" && node.className ? "." + node.className.split(" ").join(".") : ""}`
    + ` “${(node.getAttribute("aria-label") || node.textContent || node.value || "").trim().slice(0, 40)}”`;

  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) found.push(`the page is ${wide} px wider than the screen`);

  // The part of an element that its scrolling ancestors leave visible.
  const seen = (node) => {
    if (!node.checkVisibility({ checkOpacity: false, checkVisibilityCSS: true })) return null;
    let { left, top, right, bottom } = node.getBoundingClientRect();
    for (let up = node.parentElement; up; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.position === "fixed" || style.position === "sticky") return null;
      if (style.overflowX === "visible" && style.overflowY === "visible") continue;
      if (up === document.body || up === document.documentElement) continue;
      const frame = up.getBoundingClientRect();
      [left, top] = [Math.max(left, frame.left), Math.max(top, frame.top)];
      [right, bottom] = [Math.min(right, frame.right), Math.min(bottom, frame.bottom)];
    }
    return right - left > 1 && bottom - top > 1 ? { left, top, right, bottom } : null;
  };

  // A checkbox or a radio button is pressed by its whole label.
  const targets = new Map();
  for (const node of document.querySelectorAll("a[href], button, input, select, textarea, summary")) {
    if (node.type === "hidden" || node.matches(".skip, .hidden-label") || node.disabled) continue;
    const whole = ["checkbox", "radio"].includes(node.type) ? node.closest("label") ?? node : node;
    const box = seen(whole);
    if (box) targets.set(whole, box);
  }

  const nodes = [...targets.entries()].sort(([, a], [, b]) => a.top - b.top);
  nodes.forEach(([node, box], index) => {
    for (const [other, its] of nodes.slice(index + 1)) {
      if (its.top >= box.bottom - 1) break;
      if (node.contains(other) || other.contains(node)) continue;
      const across = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const down = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (across > 1 && down > 1) found.push(`${name(node)} lies over ${name(other)}`);
    }
  });

  for (const [node, box] of targets) {
    const whole = node.getBoundingClientRect();
    if (getComputedStyle(node).display === "inline" || node.type === "range") continue;
    if (whole.width < leastTarget - 0.5 || whole.height < leastTarget - 0.5) {
      found.push(`${name(node)} is ${Math.round(whole.width)} x ${Math.round(whole.height)} px to press`);
    }
  }

  for (const node of document.querySelectorAll("button, .button, h1, h2, h3, dt, dd, label, legend, .status, .tag, a")) {
    if (!seen(node) || node.clientWidth === 0 || node.closest(".hidden-label")) continue;
    if (node.scrollWidth <= node.clientWidth + 1) continue;
    const hides = getComputedStyle(node).overflowX !== "visible";
    if (hides && (node.title || node.querySelector("[title]"))) continue;
    if (!hides && !node.matches("button, .button, .tag, .status, dd")) continue;
    found.push(`${name(node)} is cut: ${node.scrollWidth} px of text in ${node.clientWidth}`);
  }
  return found;
}
