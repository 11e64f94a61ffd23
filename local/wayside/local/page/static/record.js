// The dialog with everything that is known of one flagged row.

import { el, say } from "./dom.js";
import { clock, epoch, significant } from "./format.js";
import { picture } from "./pictures.js";

export class RecordDialog {
  constructor() {
    this.dialog = document.getElementById("record");
    this.card = document.getElementById("record-card");
    this.text = document.getElementById("record-text");
    document.getElementById("record-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => {
      if (event.target === this.dialog) this.dialog.close(); // the backdrop
    });
  }

  async open(card) {
    this.card.replaceChildren(summary(card));
    say(this.text, "reading the record …");
    this.dialog.showModal();
    try {
      const response = await fetch(`api/records/${encodeURIComponent(card.id)}`);
      say(this.text, await response.text());
    } catch (error) {
      say(this.text, `the record cannot be read: ${error.message}`);
    }
  }
}

function summary(card) {
  const facts = [
    ["predicted", card.prediction ?? (card.failed ? `nothing: ${card.failed}` : "no answer was recorded")],
    ["score", `${significant(card.score, 4)}, threshold ${significant(card.threshold, 4)}`],
    ["p-value", significant(card.p_value)],
    ["asked at", clock(epoch(card.time))],
    ["service", card.service],
    ["judged by", card.detector],
  ];
  const list = el("dl", {}, ...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  return el("div", { class: "summary" }, card.picture ? picture(card.picture, "the row as a picture") : null, list);
}
