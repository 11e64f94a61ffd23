// Builds elements. Payload text only ever becomes a text node or the value of a harmless attribute: nothing here parses
// markup, and an attribute that is not on the list is a programming error.

const SVG = "http://www.w3.org/2000/svg";
const HARMLESS = new Set([
  "aria-hidden", "aria-label", "aria-labelledby", "class", "colspan", "cx", "cy", "d", "datetime", "height", "hidden",
  "high", "id", "low", "max", "min", "optimum", "points", "preserveAspectRatio", "r", "role", "rx", "scope", "tabindex",
  "text-anchor", "title", "transform", "type", "value", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
]);

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!HARMLESS.has(name)) throw new Error(`attribute ${name} is not on the list`);
    if (value !== null && value !== undefined) node.setAttribute(name, String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

// Sets text only where it changes, so that a live region speaks only of news.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function table(columns, rows) {
  const head = columns.map(({ name, numeric }) => el("th", { scope: "col", class: numeric ? "n" : null }, name));
  const cells = (row) => row.map((cell, at) => el("td", { class: columns[at].numeric ? "n" : null }, cell));
  return el(
    "div", { class: "scroll" },
    el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells(row))))),
  );
}
