// The p-value of each window over time, on a scale on which evidence of drift grows upwards.

import { TimeChart } from "./chart.js";
import { el } from "./dom.js";
import { clock, count, duration, significant } from "./format.js";

export class Drift {
  constructor(body) {
    this.body = body;
    this.charts = new Map();
    this.note = el("p", { class: "note" });
    body.append(this.note);
  }

  show({ series, open }, { span, demo }) {
    for (const one of series) this.draw(one, span, demo);
    const windows = series.flatMap((one) => one.windows);
    const drifted = windows.filter(({ drift }) => drift).length;
    const waiting = open === null ? "" : ` ${count(open)} rows wait in the open window.`;
    this.note.textContent = windows.length ? `${count(windows.length)} windows, ${count(drifted)} of them drift (◆).${waiting}` : `No window has closed yet.${waiting}`;
  }

  draw(one, span, demo) {
    const chart = this.chart(one);
    const times = one.windows.map(({ t }) => t);
    const threshold = one.windows.at(-1).threshold;
    chart.update({
      span: [Math.min(span[0], ...times), Math.max(span[1], ...times)],
      phases: demo.phases, faults: demo.faults, gap_s: Infinity,
      lines: [{ class: "trace", points: one.windows.map(({ t, p }) => [t, p]) }],
      dots: one.windows.map(({ t, p, drift }) => ({ class: drift ? "drifted" : "steady", t, value: p })),
      rules: [{ value: threshold, label: `drift at p ≤ ${significant(threshold, 2)}` }],
      describe: (t) => one.windows.filter((window) => window.t === t).map(described),
      summary: `${one.windows.length} windows, ${one.windows.filter(({ drift }) => drift).length} of them drift`,
    });
  }

  chart({ service, detector }) {
    const name = JSON.stringify([service, detector]);
    if (!this.charts.has(name)) {
      const holder = el("div", { class: "series" }, el("h3", {}, `${service} · ${detector}`));
      this.body.insertBefore(holder, this.note);
      this.charts.set(name, new TimeChart(holder, { axis: "evidence", height: 218, label: `p-value of each window of ${service}` }));
    }
    return this.charts.get(name);
  }
}

function described({ p, threshold, first, end, drift }) {
  return `rows ${count(first)} to ${count(end)}: p ${significant(p)} ${drift ? "≤" : ">"} ${significant(threshold, 2)}${drift ? ", drift" : ""}`;
}

export function showAlerts(body, { alerts }, { now }) {
  if (!alerts.length) return body.replaceChildren(el("p", { class: "empty" }, "No alert so far."));
  body.replaceChildren(el("ol", { class: "alerts" }, ...alerts.map((alert) => item(alert, now))));
}

function item({ service, detector, opened, resolved, p_value: p, windows }, now) {
  const open = resolved === null;
  const times = open ? `since ${clock(opened)}, ${duration(now - opened)}` : `${clock(opened)} to ${clock(resolved)}, ${duration(resolved - opened)}`;
  return el(
    "li", { class: open ? "open" : "resolved" },
    el("strong", {}, open ? "open" : "resolved"), el("span", {}, times),
    el("small", {}, `${service} · ${detector}: ${count(windows)} ${windows === 1 ? "window" : "windows"}, p down to ${significant(p, 2)}`),
  );
}
