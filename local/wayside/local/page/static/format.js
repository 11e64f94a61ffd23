// Numbers and times as people read them.

const THIN = "\u202f";
const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export function count(value) {
  if (value === null || value === undefined) return "–";
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN);
}

export function significant(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return scientific(value, digits - 1);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(decimals, 6));
}

function scientific(value, decimals) {
  const [mantissa, exponent] = value.toExponential(decimals).split("e");
  return `${mantissa}·${powerOfTen(Number(exponent))}`;
}

export function powerOfTen(exponent) {
  const digits = [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[digit]).join("");
  return `10${exponent < 0 ? "⁻" : ""}${digits}`;
}

export function perSecond(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 ? count(value) : value.toFixed(1);
}

export function milliseconds(value) {
  return value === null || value === undefined ? "–" : `${significant(value)}${THIN}ms`;
}

export function percent(share) {
  if (share === null || share === undefined) return "–";
  const value = share * 100;
  return `${value >= 99.95 ? "100" : value.toFixed(value >= 10 ? 1 : 2)}${THIN}%`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  const at = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** at;
  return `${Number.isInteger(scaled) ? scaled : scaled.toFixed(1)}${THIN}${units[at]}`;
}

const two = (value) => String(value).padStart(2, "0");

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const at = new Date(seconds * 1000);
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))}${THIN}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}${THIN}min ${Math.round(seconds % 60)}${THIN}s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}${THIN}h ${Math.floor((seconds % 3600) / 60)}${THIN}min`;
  return `${Math.floor(seconds / 86400)}${THIN}d ${Math.floor((seconds % 86400) / 3600)}${THIN}h`;
}

// Seconds since the epoch of an RFC 3339 text, or null.
export function epoch(text) {
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at / 1000;
}
