// Parts of a chart that are not drawn: the entries of its legend, and its table.

import { ABSENT } from "./formats.js";

const svgNamespace = "http://www.w3.org/2000/svg";

export function legendEntry(curve, named) {
  const entry = document.createElement("span");
  if (named) entry.append(swatch(curve), legendName(curve.label));
  const value = document.createElement("b");
  value.textContent = ABSENT;
  entry.append(value);
  return entry;
}

// A stroke of the curve's colour.
export function swatch({ token, dash }) {
  const picture = document.createElementNS(svgNamespace, "svg");
  picture.setAttribute("viewBox", "0 0 14 8");
  picture.setAttribute("aria-hidden", "true");
  const line = document.createElementNS(svgNamespace, "path");
  line.setAttribute("d", "M0 4h14");
  line.setAttribute("stroke", `var(${token})`);
  line.setAttribute("stroke-width", "2.5");
  if (dash) line.setAttribute("stroke-dasharray", dash[0] > dash[1] ? "4 3" : "1.5 2");
  picture.append(line);
  return picture;
}

function legendName(label) {
  const name = document.createElement("span");
  name.className = "legend-name";
  name.textContent = label;
  name.title = label;
  return name;
}

// The first cell of a row says where, the others what is there.
export function tableOf(head, rows) {
  const table = document.createElement("table");
  table.className = "table table-tight";
  const [thead, tbody] = [document.createElement("thead"), document.createElement("tbody")];
  thead.append(tableRow(head, "col"));
  tbody.append(...rows.map((cells) => tableRow(cells, "row")));
  table.append(thead, tbody);
  return table;
}

function tableRow(cells, scope) {
  const node = document.createElement("tr");
  node.append(...cells.map((text, i) => {
    const cell = document.createElement(i && scope === "row" ? "td" : "th");
    cell.textContent = text;
    if (!i || scope === "col") cell.scope = scope;
    if (i) cell.className = "number";
    return cell;
  }));
  return node;
}
