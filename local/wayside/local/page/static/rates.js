// The false-alarm rate that was asked for beside the one that was measured, with the interval that so many rows allow.

import { el, svg } from "./dom.js";
import { count, percent, significant } from "./format.js";

const WORDS = { "as asked": "as asked", higher: "higher than asked", lower: "lower than asked", unknown: "no rows yet" };
// Where nobody knows which rows are ordinary, what is flagged is not a false-alarm rate, and may well be right.
const WORDS_OF_ALL = { "as asked": "as false alarms alone would give", higher: "more than false alarms alone", lower: "fewer than allowed", unknown: "no rows yet" };

export function showRates(body, { detectors, basis }) {
  if (!detectors.length) return body.replaceChildren(el("p", { class: "empty" }, "No row detector has judged anything yet."));
  body.replaceChildren(...detectors.map((detector) => one(detector, basis)));
}

function one(detector, basis) {
  const top = scaleTop(detector);
  const [verb, words, judgement] = basis === "all rows" ? ["flagged", WORDS_OF_ALL, "neutral"] : ["measured", WORDS, detector.judgement.replace(" ", "-")];
  const head = el(
    "p", { class: "rate-head" },
    el("span", {}, `${detector.detector}: asked for `), el("b", {}, percent(detector.alpha)),
    el("span", {}, `, ${verb} `), el("b", {}, percent(detector.share)),
    el("span", { class: `judgement ${judgement}` }, words[detector.judgement]),
  );
  const interval = detector.scored ? `90 % interval ${percent(detector.low)} to ${percent(detector.high)}, n = ${count(detector.scored)}, over ${basis}; ` : "";
  const note = el("p", { class: "note" }, `${interval}threshold ${significant(detector.threshold, 4)}.`);
  return el("div", { class: "rate" }, head, measure(detector, detector, top, "wide-measure"), note, phases(detector, top));
}

// Room for the ordinary phases' intervals; what was made to be flagged may run over the edge.
function scaleTop({ alpha, high, scored, phases: all }) {
  const ordinary = all.filter(({ kind, scored: n }) => kind === "ordinary" && n).map((phase) => phase.high);
  return Math.min(1, Math.max(alpha * 2, scored ? high * 1.1 : 0, ...ordinary.map((end) => Math.min(end * 1.1, alpha * 6))));
}

function phases(detector, top) {
  if (!detector.phases.length) return null;
  const head = ["phase", "", "share", "flagged", "rows"].map((name, at) => el("th", { scope: "col", class: at > 1 ? "n" : null }, name));
  const rows = detector.phases.map((phase) =>
    el(
      "tr", { class: phase.kind === "ordinary" ? null : "aside" },
      el("td", {}, phase.title), el("td", { class: "plot" }, measure(phase, detector, top, "small-measure")),
      ...[percent(phase.share), count(phase.flagged), count(phase.scored)].map((text) => el("td", { class: "n" }, text)),
    ),
  );
  return el("div", { class: "scroll" }, el("table", { class: "phases" }, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows)));
}

// An interval on a line from 0 to `top`, with a mark at the rate asked for.
function measure({ low, high, share, scored }, { alpha }, top, name) {
  const at = (value) => 2 + 196 * Math.min(1, value / top);
  const text = scored ? `measured ${percent(share)}, from ${percent(low)} to ${percent(high)}; asked for ${percent(alpha)}` : "no rows";
  const title = svg("title", {}, text);
  const parts = [svg("path", { class: "track", d: "M2 10H198" }), svg("path", { class: "asked", d: `M${at(alpha)} 2V18` })];
  if (scored) {
    parts.push(svg("path", { class: "interval", d: `M${at(low)} 10H${Math.max(at(high), at(low) + 1)}` }));
    parts.push(svg("path", { class: "share", d: `M${at(share)} 5V15` }));
  }
  return svg("svg", { class: `measure ${name}`, viewBox: "0 0 200 20", preserveAspectRatio: "none", role: "img" }, title, ...parts);
}
