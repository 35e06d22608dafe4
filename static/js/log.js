// The tail of the log: new lines at its end, following unless someone reads further up, search.

const MOST_LINES = 2000;

export class Log {
  constructor(panel) {
    this.box = panel.querySelector("[data-log]");
    this.follow = panel.querySelector("[data-log-follow]");
    this.search = panel.querySelector("[data-log-search]");
    this.search.addEventListener("input", () => this.filterAll());
    this.follow.addEventListener("change", () => this.scroll());
    this.box.addEventListener("wheel", () => this.noticeReading(), { passive: true });
    this.box.addEventListener("keyup", () => this.noticeReading());
    this.scroll();
  }

  add({ lines, skipped_bytes: skipped }) {
    this.box.querySelector("[data-log-empty]")?.remove();
    const nodes = lines.map((line) => this.node(line));
    if (skipped) nodes.unshift(this.node(`… ${skipped} bytes are left out here; the file has them all …`));
    this.box.append(...nodes);
    while (this.box.childElementCount > MOST_LINES) this.box.firstElementChild.remove();
    this.scroll();
  }

  node(line) {
    const node = document.createElement("span");
    node.className = "log-line";
    node.dataset.level = levelOf(line);
    node.textContent = line;
    node.hidden = !this.matches(line);
    return node;
  }

  matches(line) {
    return line.toLowerCase().includes(this.search.value.toLowerCase());
  }

  filterAll() {
    for (const node of this.box.children) node.hidden = !this.matches(node.textContent);
    this.scroll();
  }

  scroll() {
    if (this.follow.checked) this.box.scrollTop = this.box.scrollHeight;
  }

  // Scrolling up stops following; reaching the end takes it up again.
  noticeReading() {
    requestAnimationFrame(() => {
      const { scrollTop, scrollHeight, clientHeight } = this.box;
      this.follow.checked = scrollHeight - scrollTop - clientHeight < 24;
    });
  }
}

export function levelOf(line) {
  const word = line.split(" ", 2)[1];
  if (word === "WARNING") return "warning";
  return word === "ERROR" || word === "CRITICAL" ? "error" : "info";
}
