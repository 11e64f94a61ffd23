// The state in words, the demo's phase, and the balance.

import { el, say } from "./dom.js";
import { clock, count, duration } from "./format.js";

const WORDS = { quiet: "all quiet", alert: "alert open", unknown: "state unknown" };

export function showHeadline({ headline, demo, now }) {
  say(document.getElementById("services"), headline.services.join(", "));
  const state = document.getElementById("state");
  state.className = `state ${headline.state}`;
  say(state.querySelector("strong"), WORDS[headline.state]);
  say(state.querySelector(".since"), since(headline));
  document.title = `${headline.state === "alert" ? "● " : ""}${WORDS[headline.state]} · Wayside`;
  showPhase(demo, now);
  say(document.getElementById("clock"), clock(now));
}

function since({ state, since: moment, problem }) {
  if (state === "unknown") return problem ?? "";
  if (moment === null) return "no alert so far";
  return `since ${clock(moment)}`;
}

function showPhase({ phases, current }, now) {
  const at = phases.findIndex((phase) => phase.name === current);
  const node = document.getElementById("phase");
  node.hidden = phases.length === 0;
  if (!phases.length) return;
  if (at < 0) return say(node, "demo: all phases are over");
  say(node, `demo, phase ${at + 1}: ${phases[at].title}, for ${duration(now - phases[at].from)}`);
}

export function showBalance(node, balance) {
  if (balance.state === "unknown") {
    node.className = "balance unknown";
    return node.replaceChildren(el("p", { class: "verdict" }, `The balance is not known: ${balance.problem}`));
  }
  node.className = `balance ${balance.state}`;
  const terms = [
    ...(balance.answered === null ? [] : [term("answered", balance.answered), operator("=")]),
    term("recorded", balance.recorded), operator("="),
    term("scored", balance.scored), operator("="),
    term("in windows", balance.in_windows), operator("+"),
    term("in the open window", balance.open),
    ...(balance.late ? [operator("+"), term("late", balance.late)] : []),
    ...(balance.left_out ? [operator("+"), term("left out", balance.left_out)] : []),
  ];
  node.replaceChildren(el("div", { class: "equation" }, ...terms), verdict(balance));
}

function term(label, value) {
  return el("span", { class: "term" }, el("b", {}, count(value)), el("small", {}, label));
}

function operator(sign) {
  return el("span", { class: "operator" }, sign);
}

function verdict({ state, differences, waiting, duplicates, conflicts, unanswered }) {
  const words = {
    holds: "✓ Every row is accounted for",
    moving: waiting ? `→ ${count(waiting)} events are on their way` : "→ rows are on their way",
    differs: `✗ ${differences.join("; ")}`,
  };
  const notes = [
    `${count(duplicates)} duplicates`,
    `${count(conflicts)} conflicts`,
    ...(unanswered ? [`${count(unanswered)} further rows got no 200 answer`] : []),
  ];
  return el("p", { class: "verdict" }, el("strong", {}, words[state]), el("small", {}, notes.join(" · ")));
}
