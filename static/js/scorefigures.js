// What was measured of a text: tiles of one model, a table of two. templates/score.html writes the same.

// One measurement by each model: its best value as trainer/inference/telling.py finds it, if there is one.
export function bestValue(figures) {
  const known = figures.filter(({ amount }) => amount != null);
  const isOfOneKind = new Set(figures.map(({ parts }) => parts)).size === 1;
  if (!isOfOneKind || new Set(known.map(({ value }) => value)).size < 2) return null;
  return known.reduce((best, one) => (one.amount < best.amount ? one : best)).value;
}

// What is no measurement of a model, and the same for all: the length.
export function isShared([first, ...others]) {
  return first.amount == null && others.every(({ value, amount }) => amount == null && value === first.value);
}

// scored: { label, told } of each model.
export function figuresOf(scored) {
  const rows = scored[0].told.figures.map((_, place) => scored.map(({ told }) => told.figures[place]));
  return scored.length === 1 ? tiles(rows) : table(scored.map(({ label }) => label), rows);
}

function tiles(rows) {
  const list = element("dl", "figures");
  list.append(...rows.map(([{ heading, value, meaning }]) => {
    const tile = element("div", "figure");
    const told = element("dd", meaning ? "" : "figure-words", value);
    told.append(element("small", "", meaning));
    tile.append(element("dt", "", heading), told);
    return tile;
  }));
  return list;
}

function table(labels, rows) {
  const node = element("table", "table");
  node.createCaption().append(element("span", "hidden-label", "What was measured"));
  node.createTHead().insertRow().append(header("col", "Figure"), ...labels.map((label) => header("col", label, "number")));
  const body = node.createTBody();
  for (const figures of rows) body.insertRow().append(rowHeader(figures[0]), ...cells(figures));
  return node;
}

function header(scope, words, kind = "") {
  const node = element("th", kind, words);
  node.scope = scope;
  return node;
}

function rowHeader({ heading, meaning }) {
  const node = header("row", heading);
  node.append(element("small", "", meaning));
  return node;
}

function cells(figures) {
  if (isShared(figures)) {
    const cell = element("td", "number", figures[0].value);
    cell.colSpan = figures.length;
    return [cell];
  }
  const best = bestValue(figures);
  return figures.map(({ value }) => {
    const isBest = value === best;
    const cell = element("td", isBest ? "number best" : "number", value);
    if (isBest) cell.append(element("small", "", "best"));
    return cell;
  });
}

function element(name, kind, words = "") {
  const node = document.createElement(name);
  if (kind) node.className = kind;
  node.textContent = words;
  return node;
}
