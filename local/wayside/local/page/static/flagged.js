// Cards of the newest flagged rows. A card that is there already stays, so that focus and clicks survive the news.

import { el } from "./dom.js";
import { clock, count, epoch, percent, significant } from "./format.js";
import { picture } from "./pictures.js";

export class Flagged {
  constructor(body, open) {
    this.open = open;
    this.cards = new Map();
    this.strip = el("div", { class: "cards" });
    this.note = el("p", { class: "note" });
    body.append(this.strip, this.note);
  }

  show({ cards, flagged, scored }) {
    const kept = new Map();
    for (const card of cards) kept.set(card.id, this.card(card));
    const now = [...kept.values()].map(({ node }) => node);
    if (now.length !== this.strip.children.length || now.some((node, at) => node !== this.strip.children[at])) this.arrange(now);
    this.cards = kept;
    const share = scored ? `, ${percent(flagged / scored)}` : "";
    this.note.textContent = cards.length ? `${count(flagged)} of ${count(scored)} scored rows were flagged${share}. Choose one to see its record.` : `No row was flagged yet; ${count(scored)} were scored.`;
  }

  card(card) {
    const text = JSON.stringify(card);
    const known = this.cards.get(card.id);
    return known?.text === text ? known : { text, node: this.build(card) };
  }

  arrange(nodes) {
    const focused = document.activeElement;
    this.strip.replaceChildren(...nodes);
    if (nodes.includes(focused)) focused.focus({ preventScroll: true });
  }

  build(card) {
    const predicted = card.failed ?? (card.prediction === null ? "no answer" : `read as ${card.prediction}`);
    const node = el(
      "button", { type: "button", class: "card" },
      card.picture ? picture(card.picture, `flagged row, ${predicted}`) : values(card.fields),
      el("span", { class: "prediction" }, predicted),
      el("span", { class: "p" }, `p ${significant(card.p_value, 2)}`),
      el("span", {}, `score ${significant(card.score)}`),
      el("span", {}, `threshold ${significant(card.threshold)}`),
      el("time", { datetime: card.time }, clock(epoch(card.time))),
    );
    node.addEventListener("click", () => this.open(card));
    return node;
  }
}

function values(fields) {
  const rows = fields.slice(0, 5).map(([name, value]) => el("span", { class: "field" }, el("i", {}, name), el("b", {}, value)));
  return el("span", { class: "values" }, ...rows);
}
