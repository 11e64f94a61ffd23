// Where a value lies on an axis, and which values are worth a tick.

import { powerOfTen, significant } from "./format.js";

export function timeScale([from, to], [left, right]) {
  const at = (t) => left + ((t - from) / (to - from)) * (right - left);
  at.invert = (x) => from + ((x - left) / (right - left)) * (to - from);
  return at;
}

const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 10800, 21600, 43200, 86400];

export function timeTicks([from, to], atMost) {
  const step = STEPS_S.find((seconds) => (to - from) / seconds <= atMost) ?? 86400 * Math.ceil((to - from) / 86400 / atMost);
  const zone = new Date(from * 1000).getTimezoneOffset() * 60;
  const ticks = [];
  for (let t = Math.ceil((from - zone) / step) * step + zone; t <= to; t += step) ticks.push(t);
  return ticks;
}

// Each kind of vertical axis: its range for the values on it, its ticks, how far up (0 to 1) a value lies.
export const AXES = {
  linear: {
    range: (values) => [0, niceAbove(Math.max(1, ...values))],
    ticks: ([, top]) => [0, top / 2, top].map((value) => ({ value, label: significant(value, 2) })),
    up: (value, [bottom, top]) => (value - bottom) / (top - bottom),
  },
  log: {
    range: (values) => {
      const positive = values.filter((value) => value > 0);
      const [low, high] = positive.length ? [Math.min(...positive), Math.max(...positive)] : [1, 10];
      return [10 ** Math.floor(Math.log10(low)), 10 ** Math.ceil(Math.log10(high * 1.05))];
    },
    ticks: ([bottom, top]) => logTicks(bottom, top),
    up: (value, [bottom, top]) => Math.log(Math.max(value, bottom) / bottom) / Math.log(top / bottom),
  },
  // A p-value, the small ones on top: evidence grows upwards. What is smaller than 10^-8 stands at the top edge; p = 1
  // stands a little above the bottom one, clear of the marks there.
  evidence: {
    range: (values) => [-0.7, Math.min(8, Math.max(4, Math.ceil(Math.max(0, ...values.map(evidence)) + 0.5)))],
    ticks: ([, top]) => {
      const step = Math.max(1, Math.ceil(top / 4));
      const marks = Array.from({ length: Math.floor(top / step) + 1 }, (_, at) => at * step);
      return marks.map((exponent) => ({ value: 10 ** -exponent, label: exponent ? powerOfTen(-exponent) : "1" }));
    },
    up: (value, [bottom, top]) => (Math.min(top, evidence(value)) - bottom) / (top - bottom),
  },
};

function evidence(p) {
  return -Math.log10(p);
}

function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((step) => step * power).find((nice) => nice >= value);
}

function logTicks(bottom, top) {
  const steps = top / bottom > 1000 ? [1] : top / bottom > 10 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = bottom; power <= top * 1.001; power *= 10) {
    for (const step of steps) {
      if (power * step <= top * 1.001) ticks.push({ value: power * step, label: String(Number((power * step).toPrecision(2))) });
    }
  }
  return ticks;
}
