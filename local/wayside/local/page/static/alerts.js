// Alerts with their evidence, and how quiet each series is beside what an any-feature rule would have raised.

import { el, svg } from "./dom.js";
import { clock, count, duration, percent, significant } from "./format.js";

const WORDS = { open: "open", resolved: "resolved", replaced: "its detector was replaced" };

export function showAlerts(body, { alerts, series }, { now }) {
  const list = alerts.length ? el("ol", { class: "alerts" }, ...alerts.map((alert) => item(alert, now))) : el("p", { class: "empty" }, "No alert so far.");
  body.replaceChildren(...series.map((one) => el("p", { class: "quiet" }, ...quiet(one, series.length > 1))), list);
}

// "quiet for 12 windows; an any-feature rule would have raised 9 alarms on the same windows"
function quiet({ windows, drifted, unjudged, featured, any_feature: rule, quiet: calm, any_feature_quiet: ruleQuiet, ...named }, several) {
  const whose = several ? `${nameOf(named)}: ` : "";
  const state = calm || !drifted ? `quiet for ${windowsOf(calm)}` : "the last window drifts";
  const of = calm < windows ? `, and ${count(rule)} on all ${count(windows)}` : "";
  const beside = featured ? `an any-feature rule (p ≤ 0.05) would have raised ${alarms(ruleQuiet)} on the same windows${of}` : "no p-values of single features";
  const left = unjudged ? `; ${windowsOf(unjudged)} could not be judged` : "";
  return [el("b", {}, `${whose}${state}`), el("small", {}, `${beside}${left}`)];
}

export function nameOf({ service, endpoint, revision, detector }) {
  return [service, endpoint, revision, detector].filter(Boolean).join(" · ");
}

function windowsOf(number) {
  return `${count(number)} ${number === 1 ? "window" : "windows"}`;
}

function alarms(number) {
  return `${count(number)} ${number === 1 ? "alarm" : "alarms"}`;
}

function item(alert, now) {
  const { state, severity, opened, resolved, windows, p_value: p, level, spent, features, more } = alert;
  const times = resolved === null ? `since ${clock(opened)}, ${duration(now - opened)}` : `${clock(opened)} to ${clock(resolved)}, ${duration(resolved - opened)}`;
  return el(
    "li", { class: state },
    el("strong", {}, WORDS[state]), el("span", {}, `${severity}, ${times}`),
    el("small", {}, `${nameOf(alert)}: ${windowsOf(windows)} drifted; the last at p ${significant(p, 2)}, level ${significant(level, 2)}; ${significant(spent, 2)} false alarms expected so far`),
    ...features.map(feature),
    more ? el("small", {}, `and ${count(more)} more features`) : null,
  );
}

function feature({ name, reference, window, shares }) {
  const change = shares ? shares.map(([category, before, after]) => `${category} ${percent(before)} → ${percent(after)}`).join(", ") : medians(reference, window);
  return el("span", { class: "feature" }, el("b", {}, name), quantiles(reference, window), el("small", {}, change));
}

function medians(reference, window) {
  if (!reference || !window) return reference ? "no value any more" : "no quantiles";
  return `median ${significant(reference[2])} → ${significant(window[2])}`;
}

// Two lines on one scale, the reference above the window: from 5 to 95 %, thick from 25 to 75 %, a mark at the median.
function quantiles(reference, window) {
  if (!reference || !window) return el("span", {});
  const [low, high] = [Math.min(reference[0], window[0]), Math.max(reference[4], window[4])];
  const at = (value) => (high > low ? 2 + (96 * (value - low)) / (high - low) : 50);
  const line = (values, y, kind) => [
    svg("path", { class: `whisker ${kind}`, d: `M${at(values[0])} ${y}H${at(values[4])}` }),
    svg("path", { class: `box ${kind}`, d: `M${at(values[1])} ${y}H${Math.max(at(values[3]), at(values[1]) + 1)}` }),
    svg("path", { class: "median", d: `M${at(values[2])} ${y - 3}V${y + 3}` }),
  ];
  const text = `quantiles 5, 25, 50, 75, 95 %: reference ${listed(reference)}; window ${listed(window)}`;
  return svg(
    "svg", { class: "quantiles", viewBox: "0 0 100 18", preserveAspectRatio: "none", role: "img" },
    svg("title", {}, text), ...line(reference, 5, "before"), ...line(window, 13, "after"),
  );
}

function listed(values) {
  return values.map((value) => significant(value)).join(", ");
}
