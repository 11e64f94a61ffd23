// A chart over time: lines, dots and rules over bands of phases, with exact values under the pointer or the arrow keys.

import { svg } from "./dom.js";
import { clock } from "./format.js";
import { AXES, timeScale, timeTicks } from "./scales.js";

const MARGIN = { top: 34, right: 10, bottom: 22, left: 44 };
const UNLABELLED_TOP = 8;
const PIXELS_A_TICK = 90;

export class TimeChart {
  // `axis` names one of AXES; `label` says what the chart is, for those who do not see it; `labelled` names the phases.
  constructor(container, { axis, height, label, unit = "", labelled = true }) {
    this.axis = AXES[axis];
    this.height = height;
    this.unit = unit;
    this.labelled = labelled;
    this.svg = svg("svg", { class: "chart", role: "img", tabindex: 0, height });
    this.title = svg("title");
    this.title.textContent = label;
    this.label = label;
    this.cursor = null;
    container.append(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.svg.addEventListener("pointerleave", () => this.clear());
    this.svg.addEventListener("blur", () => this.clear());
    this.svg.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  // picture: {span, lines: [{class, points: [[t, value]]}], dots: [{class, t, value, symbol}], rules: [{value, label}],
  //           phases, faults, gap_s, describe: t => [text], summary}
  update(picture) {
    this.picture = picture;
    this.times = moments(picture);
    this.title.textContent = `${this.label}. ${picture.summary ?? ""}`;
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth;
    if (!this.picture || width < 80) return;
    const { lines = [], dots = [], rules = [], span } = this.picture;
    const values = [...lines.flatMap(({ points }) => points.map(([, value]) => value)), ...dots.map(({ value }) => value), ...rules.map(({ value }) => value)];
    const range = this.axis.range(values);
    const plot = { left: MARGIN.left, right: width - MARGIN.right, top: this.labelled ? MARGIN.top : UNLABELLED_TOP, bottom: this.height - MARGIN.bottom };
    this.plot = plot;
    this.x = timeScale(span, [plot.left, plot.right]);
    this.y = (value) => plot.bottom - this.axis.up(value, range) * (plot.bottom - plot.top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    const drawn = [this.bands(), this.grid(range), this.timeAxis(), this.faults(), ...rules.map((rule) => this.rule(rule)), ...lines.map((line) => this.line(line)), this.dots(dots)];
    this.overlay = svg("g", { class: "cursor", "aria-hidden": true });
    this.svg.replaceChildren(this.title, ...drawn, this.overlay);
    this.showCursor();
  }

  bands() {
    const group = svg("g", { class: "bands" });
    for (const phase of this.visiblePhases()) {
      const left = this.clamp(this.x(phase.from));
      const width = this.clamp(phase.to === null ? this.plot.right : this.x(phase.to)) - left;
      group.append(svg("rect", { class: `band ${kindOf(phase.kind)}`, x: left, y: 0, width: Math.max(0, width - 1), height: this.plot.bottom }));
      const label = this.labelled ? wrapped(phase.title, width - 8) : [];
      label.forEach((text, at) => group.append(svg("text", { x: left + 5, y: 13 + at * 12, class: "band-label" }, text)));
    }
    return group;
  }

  visiblePhases() {
    const [from, to] = this.picture.span;
    return (this.picture.phases ?? []).filter((phase) => phase.from < to && (phase.to === null || phase.to > from));
  }

  grid(range) {
    const group = svg("g", { class: "axis" });
    this.axis.ticks(range).forEach(({ value, label }, at, ticks) => {
      const y = this.y(value);
      const unit = at === ticks.length - 1 && this.unit ? ` ${this.unit}` : "";
      group.append(svg("line", { x1: this.plot.left, x2: this.plot.right, y1: y, y2: y }));
      group.append(svg("text", { x: this.plot.left - 6, y: y + 4, "text-anchor": "end" }, label + unit));
    });
    return group;
  }

  timeAxis() {
    const group = svg("g", { class: "axis times" });
    const atMost = Math.max(2, Math.floor((this.plot.right - this.plot.left) / PIXELS_A_TICK));
    for (const t of timeTicks(this.picture.span, atMost)) {
      const x = this.x(t);
      if (x > this.plot.left + 20 && x < this.plot.right - 20) group.append(svg("text", { x, y: this.height - 6, "text-anchor": "middle" }, clock(t)));
    }
    return group;
  }

  faults() {
    const group = svg("g", { class: "faults" });
    const [from, to] = this.picture.span;
    (this.picture.faults ?? []).forEach(({ t }, at) => {
      if (t < from || t > to) return;
      const x = this.x(t);
      group.append(svg("line", { x1: x, x2: x, y1: this.plot.top, y2: this.plot.bottom }));
      group.append(svg("circle", { cx: x, cy: this.plot.bottom, r: 7 }));
      group.append(svg("text", { x, y: this.plot.bottom + 3.5, "text-anchor": "middle" }, String(at + 1)));
    });
    return group;
  }

  rule({ value, label }) {
    const y = this.y(value);
    return svg(
      "g", { class: "rule" },
      svg("line", { x1: this.plot.left, x2: this.plot.right, y1: y, y2: y }),
      svg("text", { x: this.plot.right - 4, y: y - 5, "text-anchor": "end" }, label),
    );
  }

  line({ class: name, points }) {
    const [from] = this.picture.span;
    const gap = this.picture.gap_s ?? Infinity;
    let before = -Infinity;
    let d = "";
    for (const [t, value] of points) {
      if (t < from || value === null) continue;
      d += `${d === "" || t - before > gap ? "M" : "L"}${this.x(t).toFixed(1)} ${this.y(value).toFixed(1)}`;
      before = t;
    }
    return svg("path", { class: `line ${name}`, d });
  }

  dots(dots) {
    const group = svg("g", { class: "dots" });
    for (const { class: name, t, value } of dots) {
      const [x, y] = [this.x(t), this.y(value)];
      const r = name.includes("drifted") ? 5 : 3.2;
      group.append(
        name.includes("drifted")
          ? svg("path", { class: name, d: `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z` })
          : svg("circle", { class: name, cx: x, cy: y, r }),
      );
    }
    return group;
  }

  clamp(x) {
    return Math.min(this.plot.right, Math.max(this.plot.left, x));
  }

  // the cursor

  point(x) {
    if (!this.times?.length || !this.x) return;
    this.cursor = nearest(this.times, this.x.invert(x));
    this.showCursor();
  }

  clear() {
    this.cursor = null;
    this.overlay?.replaceChildren();
  }

  step(event) {
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction || !this.times?.length) return;
    event.preventDefault();
    const at = this.cursor === null ? this.times.length - 1 : this.times.indexOf(nearest(this.times, this.cursor)) + direction;
    this.cursor = this.times[Math.min(this.times.length - 1, Math.max(0, at))];
    this.showCursor();
  }

  showCursor() {
    if (this.cursor === null || this.cursor < this.picture.span[0]) return;
    const x = this.x(this.cursor);
    const texts = [clock(this.cursor), ...this.picture.describe(this.cursor)];
    const lines = texts.map((text, at) => svg("text", { x: 8, y: 16 + at * 15, class: at ? null : "when" }, text));
    const box = svg("rect", { rx: 4, height: texts.length * 15 + 10 });
    const tip = svg("g", { class: "tip" }, box, ...lines);
    this.overlay.replaceChildren(svg("line", { x1: x, x2: x, y1: this.plot.top, y2: this.plot.bottom }), tip);
    const width = Math.max(...lines.map((line) => line.getComputedTextLength())) + 16;
    const left = x + 10 + width > this.plot.right ? x - 10 - width : x + 10;
    box.setAttribute("width", width);
    tip.setAttribute("transform", `translate(${Math.max(0, left)} ${this.plot.top + 2})`);
  }
}

function moments({ lines = [], dots = [], span }) {
  const times = [...lines.flatMap(({ points }) => points.map(([t]) => t)), ...dots.map(({ t }) => t)];
  return [...new Set(times)].filter((t) => t >= span[0]).sort((one, other) => one - other);
}

function nearest(times, t) {
  return times.reduce((best, time) => (Math.abs(time - t) < Math.abs(best - t) ? time : best));
}

function kindOf(kind) {
  return ["outliers", "shift", "fault"].includes(kind) ? kind : "ordinary";
}

// A text on two lines at most that fit into so many pixels, about; nothing where too little of it would be left.
function wrapped(text, pixels) {
  const fits = Math.floor(pixels / 5.3);
  if (text.length <= fits) return [text];
  const space = text.lastIndexOf(" ", fits);
  if (fits < 8 || space < 0) return [];
  const rest = text.slice(space + 1);
  return [text.slice(0, space), rest.length <= fits ? rest : `${rest.slice(0, fits - 1).trimEnd()}…`];
}
