// The p-value of each window over time, on a scale on which evidence of drift grows upwards.

import { nameOf } from "./alerts.js";
import { TimeChart } from "./chart.js";
import { el } from "./dom.js";
import { count, significant } from "./format.js";

export class Drift {
  constructor(body) {
    this.body = body;
    this.charts = new Map();
    this.note = el("p", { class: "note" });
    body.append(this.note);
  }

  show({ series, open, warming }, { span, demo }) {
    for (const one of series) this.draw(one, span, demo);
    const windows = series.flatMap((one) => one.windows);
    this.note.textContent = `${told(windows)}${open === null ? "" : ` ${count(open)} rows wait in the open window.`}${warming.map(({ service, state }) => ` ${service} is ${state}.`).join("")}`;
  }

  draw(one, span, demo) {
    const chart = this.chart(one);
    const times = one.windows.map(({ t }) => t);
    const judged = one.windows.filter(({ error }) => error === null);
    const threshold = one.windows.at(-1).threshold;
    chart.update({
      span: [Math.min(span[0], ...times), Math.max(span[1], ...times)],
      phases: demo.phases, faults: demo.faults, gap_s: Infinity,
      lines: [{ class: "trace", points: judged.map(({ t, p }) => [t, p]) }],
      dots: judged.map(({ t, p, drift }) => ({ class: drift ? "drifted" : "steady", t, value: p })),
      rules: threshold <= 0 ? [] : [{ value: threshold, label: `drift at p ≤ ${significant(threshold, 2)}` }],
      describe: (t) => one.windows.filter((window) => window.t === t).map(described),
      summary: `${one.windows.length} windows, ${one.windows.filter(({ drift }) => drift).length} of them drift`,
    });
  }

  chart(one) {
    const name = JSON.stringify([one.service, one.endpoint, one.revision, one.detector]);
    if (!this.charts.has(name)) {
      const holder = el("div", { class: "series" }, el("h3", {}, nameOf(one)));
      this.body.insertBefore(holder, this.note);
      this.charts.set(name, new TimeChart(holder, { axis: "evidence", height: 218, label: `p-value of each window of ${one.service}` }));
    }
    return this.charts.get(name);
  }
}

function told(windows) {
  if (!windows.length) return "No window has closed yet.";
  const drifted = windows.filter(({ drift }) => drift).length;
  const unjudged = windows.filter(({ error }) => error !== null).length;
  return `${count(windows.length)} windows, ${count(drifted)} of them drift (◆)${unjudged ? `, ${count(unjudged)} could not be judged` : ""}.`;
}

function described({ p, threshold, first, end, drift, error }) {
  if (error !== null) return `rows ${count(first)} to ${count(end)}: not judged, ${error}`;
  return `rows ${count(first)} to ${count(end)}: p ${significant(p)} ${drift ? "≤" : ">"} ${significant(threshold, 2)}${drift ? ", drift" : ""}`;
}
