// Numbers as people read them. Nothing known is "–".
const NONE = "–";
const NARROW = "\u202f"; // keeps a number and its unit on one line
const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

const known = (value) => typeof value === "number" && Number.isFinite(value);

function digits(value) { // three that count
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function count(value) {
  return known(value) ? grouped.format(value) : NONE;
}

export function short(value) { // for large figures: 12.3 k, 4.56 M
  if (!known(value)) return NONE;
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) return digits(value / (unit === "k" ? 1e3 : size)) + NARROW + unit;
  }
  return value >= 100 || Number.isInteger(value) ? grouped.format(value) : value.toFixed(1);
}

export function percent(share) { // never 100 % of what is not all, nor 0 % of what is something
  if (!known(share)) return NONE;
  let text = (100 * share).toFixed(1);
  if (share < 1 && text === "100.0") text = "99.9";
  if (share > 0 && text === "0.0") return `<${NARROW}0.1${NARROW}%`;
  return text + NARROW + "%";
}

export function seconds(value) {
  if (!known(value)) return NONE;
  if (value === 0) return `0${NARROW}s`;
  if (value < 1e-3) return (1e6 * value).toFixed(0) + NARROW + "µs";
  if (value < 1) return digits(1e3 * value) + NARROW + "ms";
  if (value < 60) return digits(value) + NARROW + "s";
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)}${NARROW}min ${whole % 60}${NARROW}s`;
  const minutes = Math.round(value / 60);
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)}${NARROW}h ${minutes % 60}${NARROW}min`;
  return `${(value / 86400).toFixed(1)}${NARROW}days`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  let unit = "B";
  for (const next of ["KiB", "MiB", "GiB", "TiB"]) {
    if (value < 1024) break;
    value /= 1024;
    unit = next;
  }
  return (unit === "B" ? String(value) : digits(value)) + NARROW + unit;
}

export function clock(unix) { // hours and minutes here
  return new Date(1000 * unix).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

export function ago(elapsed) {
  if (elapsed < 2) return "just now";
  if (elapsed < 60) return `${Math.floor(elapsed)} s ago`;
  if (elapsed < 3600) return `${Math.floor(elapsed / 60)} min ago`;
  return elapsed < 86400 ? `${Math.floor(elapsed / 3600)} h ago` : `${Math.floor(elapsed / 86400)} d ago`;
}
