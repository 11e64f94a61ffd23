// Asks for the state once a second and hands each panel its part. A panel that has a problem says so; the others go on.

import { showAlerts } from "./alerts.js";
import { el } from "./dom.js";
import { Drift } from "./drift.js";
import { Flagged } from "./flagged.js";
import { clock } from "./format.js";
import { showBalance, showHeadline } from "./headline.js";
import { Latency } from "./latency.js";
import { showRates } from "./rates.js";
import { RecordDialog } from "./record.js";
import { showBroker, Traffic } from "./traffic.js";

const EVERY_MS = 1000;
const HIDDEN_EVERY_MS = 10000;
const TIMEOUT_MS = 8000;

class Panel {
  // `make(body)` builds the panel once and returns `show(part, state)`.
  constructor(name, make) {
    this.name = name;
    this.section = document.getElementById(name);
    this.body = this.section.querySelector(".body");
    this.problem = el("p", { class: "problem", hidden: "" });
    this.section.append(this.problem);
    this.paint = make(this.body);
  }

  show(state) {
    const part = state[this.name];
    const failed = part.problem !== undefined;
    this.problem.hidden = !failed;
    this.body.hidden = failed;
    if (failed) this.problem.textContent = part.problem;
    else this.paint(part, state);
  }
}

const record = new RecordDialog();
const panel = (name, Kind, ...more) =>
  new Panel(name, (body) => {
    const made = new Kind(body, ...more);
    return (part, state) => made.show(part, state);
  });
const plain = (name, show) => new Panel(name, (body) => (part, state) => show(body, part, state));
const panels = [
  panel("latency", Latency),
  panel("traffic", Traffic),
  panel("flagged", Flagged, (card) => record.open(card)),
  panel("drift", Drift),
  plain("alerts", showAlerts),
  plain("false_alarms", showRates),
  plain("broker", showBroker),
];

let lastSeen = null;

function show(state) {
  showHeadline(state);
  showBalance(document.getElementById("balance"), state.headline.balance);
  for (const each of panels) each.show(state);
  lastSeen = state.now;
}

function showStale(reason) {
  const notice = document.getElementById("stale");
  notice.hidden = reason === null;
  document.body.classList.toggle("stale", reason !== null);
  if (reason !== null) notice.textContent = `The page's server does not answer (${reason}). ${lastSeen === null ? "" : `What you see is from ${clock(lastSeen)}.`}`;
}

async function ask() {
  const response = await fetch("api/state", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`it says ${response.status}`);
  return response.json();
}

let timer = null;

async function poll() {
  clearTimeout(timer);
  let state = null;
  try {
    state = await ask();
    showStale(null);
  } catch (error) {
    showStale(error.message);
  }
  timer = setTimeout(poll, document.hidden ? HIDDEN_EVERY_MS : EVERY_MS);
  if (state) show(state);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) poll();
});
poll();
