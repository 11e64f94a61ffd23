// Two lines a route, the median and the 99th percentile, through the logger and beside it.

import { TimeChart } from "./chart.js";
import { el, svg } from "./dom.js";
import { milliseconds } from "./format.js";

const CLASSES = ["through", "direct"];
const MEASURED_BY = { client: "measured by the demo's client, request by request", logger: "measured by the logger; percentiles are read from its histograms" };

export class Latency {
  constructor(body) {
    this.legend = el("div", { class: "legend" });
    this.note = el("p", { class: "note" });
    const holder = el("div");
    body.append(this.legend, holder, this.note);
    this.chart = new TimeChart(holder, { axis: "log", height: 262, label: "Latency in milliseconds, through the logger and of the model server alone", unit: "ms" });
  }

  show({ lines, source, width_s: width }, { span, demo }) {
    this.legend.replaceChildren(...lines.map(route), difference(lines));
    const each = width === 1 ? "each second" : `each ${width} seconds`;
    const faults = demo.faults.map(({ what }, at) => `${at + 1} ${what}`).join(" · ");
    this.note.replaceChildren(`p50 and p99 of ${each}, ${MEASURED_BY[source]}; the figures above are of the last minute. `, faults ? el("span", { class: "fault-list" }, `Faults: ${faults}`) : "");
    this.chart.update({
      span, phases: demo.phases, faults: demo.faults, gap_s: Math.max(6, width * 4),
      lines: [...lines.map((line, at) => drawn(line, at, 2, "p99")), ...lines.map((line, at) => drawn(line, at, 1, "p50"))].reverse(),
      describe: (t) => lines.flatMap((line) => described(line, t)),
      summary: lines.map(({ name, recent }) => `${name}: median ${milliseconds(recent?.p50)}`).join(", "),
    });
  }
}

function drawn({ points }, at, column, quantile) {
  return { class: `${CLASSES[at]} ${quantile}`, points: points.map((point) => [point[0], point[column]]) };
}

function described({ name, points }, t) {
  const found = points.find((point) => point[0] === t);
  return found ? [`${name}: p50 ${milliseconds(found[1])}, p99 ${milliseconds(found[2])} (n = ${found[3]})`] : [];
}

function route({ name, recent }, at) {
  const swatch = svg("svg", { class: "swatch", width: 22, height: 12, "aria-hidden": true },
    svg("path", { class: `line ${CLASSES[at]} p50`, d: "M1 8H21" }), svg("path", { class: `line ${CLASSES[at]} p99`, d: "M1 3H21" }));
  return el("p", { class: "route" }, swatch, el("span", {}, name),
    el("b", {}, milliseconds(recent?.p50)), el("small", {}, "p50"), el("b", {}, milliseconds(recent?.p99)), el("small", {}, "p99"));
}

function difference([through, direct]) {
  const [with_, without] = [through.recent?.p50, direct.recent?.p50];
  if (with_ == null || without == null) return el("p", { class: "route" });
  const added = with_ - without;
  return el("p", { class: "route added" }, el("span", {}, "difference"), el("b", {}, `${added < 0 ? "−" : "+"}${milliseconds(Math.abs(added))}`));
}
