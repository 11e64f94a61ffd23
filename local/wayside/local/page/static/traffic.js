// Requests and rows a second, the logger's events and its queue; what the broker delivered.

import { TimeChart } from "./chart.js";
import { el, table } from "./dom.js";
import { bytes, count, perSecond } from "./format.js";

const REASONS = ["queue_full", "too_large", "refused", "shutdown"];

export class Traffic {
  constructor(body) {
    this.figures = el("div", { class: "figures" });
    this.details = el("div");
    const holder = el("div");
    body.append(this.figures, holder, this.details);
    this.chart = new TimeChart(holder, { axis: "linear", height: 108, label: "Rows answered a second", labelled: false });
  }

  show(traffic, { span, demo }) {
    const { rates } = traffic;
    this.figures.replaceChildren(figure(traffic.requests_per_s, "requests a second"), figure(traffic.rows_per_s, "rows a second"));
    this.chart.update({
      span, phases: demo.phases, faults: demo.faults, gap_s: Infinity,
      lines: [{ class: "through", points: rates.map(({ t, rows }) => [t, rows]) }],
      describe: (t) => rates.filter((rate) => rate.t === t).map(({ requests, rows }) => `${perSecond(rows)} rows/s, ${perSecond(requests)} requests/s`),
    });
    this.details.replaceChildren(events(traffic), queue(traffic.queue));
  }
}

function figure(value, label) {
  return el("p", { class: "figure" }, el("b", {}, perSecond(value)), el("small", {}, label));
}

function events({ captured, sent, in_flight: waiting, dropped, responses }) {
  const reasons = [...new Set([...REASONS, ...Object.keys(dropped)])];
  const lost = reasons.reduce((sum, reason) => sum + (dropped[reason] ?? 0), 0);
  const each = reasons.map((reason) => `${reason.replaceAll("_", " ")} ${count(dropped[reason] ?? 0)}`).join(" · ");
  const failed = Object.entries(responses).filter(([code]) => !code.startsWith("2"));
  const pairs = [
    ["events captured", count(captured)],
    ["sent", count(sent)],
    ["on their way", count(waiting)],
    ["dropped", el("span", { class: lost ? "bad" : null }, el("b", {}, count(lost)), el("small", {}, each))],
    ...(failed.length ? [["answers but 2xx", failed.map(([code, n]) => `${code}: ${count(n)}`).join(", ")]] : []),
  ];
  return el("dl", { class: "facts" }, ...pairs.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function queue({ events: waiting = 0, limit_events: limit = 0, bytes: held = 0, limit_bytes: most = 0 }) {
  const share = Math.max(limit ? waiting / limit : 0, most ? held / most : 0);
  const text = `${count(waiting)} of ${count(limit)} events, ${bytes(held)} of ${bytes(most)}`;
  const meter = el("meter", { min: 0, max: 1, low: 0.5, high: 0.8, optimum: 0, value: share, "aria-label": "fill of the logger's queue" });
  return el("p", { class: "queue" }, el("span", {}, "logger's queue"), meter, el("small", {}, text));
}

export function showBroker(body, { triggers, duplicates, conflicts }) {
  const columns = [{ name: "trigger" }, ...["matched", "delivered", "waiting", "dead letters", "attempts"].map((name) => ({ name, numeric: true }))];
  const rows = triggers.map((trigger) => [
    trigger.name, count(trigger.matched), count(trigger.delivered),
    marked(trigger.waiting, "busy"), marked(trigger.dead_lettered, "bad"), count(trigger.attempts),
  ]);
  const note = `At the broker: ${count(duplicates)} duplicates, ${count(conflicts)} conflicts. matched = delivered + waiting + dead letters.`;
  body.replaceChildren(table(columns, rows), el("p", { class: "note" }, note));
}

function marked(value, name) {
  return el("span", { class: value ? name : null }, count(value));
}
