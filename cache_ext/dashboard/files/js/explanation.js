// What is known of a key or of requests, as a page shows it; what it does not know by name it shows as it is.
import { make } from "./dom.js";
import { bytes, seconds } from "./format.js";

const STATES = { fresh: "good", stale: "warn", expired: "warn", invalidated: "warn", absent: "", undecodable: "bad", unknown: "bad" };
const LATER = new Set(["key", "request_id", "state", "why", "at", "complete", "incomplete_because"]);
const MOMENT = /^\d{4}-\d\d-\d\dT[\d:.]+Z$/;
const SECONDS = /^(age|ttl_left|stale_left|load_seconds|after|seconds)$/;

export function explanation(found) {
  const head = make("h3", {}, make("span", { class: "code" }, found.key ?? found.request_id ?? ""),
    ...(found.state ? [make("span", { class: `pill ${STATES[found.state] ?? ""}` }, found.state)] : []));
  const why = found.why ? make("p", { class: "why" }, `${found.why[0].toUpperCase()}${found.why.slice(1)}.`) : null;
  const partial = found.complete === false ? make("p", { class: "empty" }, `Not all processes were heard: ${found.incomplete_because}.`) : null;
  return [head, why, partial, ...parts(found)].filter(Boolean);
}

// What comes first; the rest follows as it came.
const ORDER = ["name", "key", "cache", "host", "pid", "layers", "layer", "outcome", "verdict", "reason", "source", "at", "age", "ttl_left", "stale_left", "load_seconds", "bytes", "serves", "made_under", "current"];
const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
const ordered = (names) => [...names].sort((one, other) => place(one) - place(other));

// Plain values as facts, lists of records as tables, records as facts under their name.
function parts(record, skip = LATER) {
  const plain = [], larger = [];
  for (const name of ordered(Object.keys(record))) {
    const value = record[name];
    if (skip.has(name) || value === null || (Array.isArray(value) && value.length === 0)) continue;
    if (Array.isArray(value) && typeof value[0] === "object") larger.push(title(name), table(value));
    else if (typeof value === "object" && !Array.isArray(value)) larger.push(title(name), ...parts(value, new Set()));
    else plain.push([name, value]);
  }
  const facts = plain.length ? [make("dl", { class: "facts" }, ...plain.map(([name, value]) => make("div", {}, make("dt", {}, words(name)), make("dd", {}, shown(name, value)))))] : [];
  return [...facts, ...larger];
}

function table(rows) {
  const names = ordered(new Set(rows.flatMap((row) => Object.keys(row)))).filter((name) => rows.some((row) => row[name] !== null && row[name] !== undefined));
  return make("div", { class: "scroll", tabindex: "0" }, make("table", {},
    make("thead", {}, make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, words(name))))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...names.map((name) => make("td", { class: typeof row[name] === "number" ? "" : "text" }, cell(name, row[name]))))))));
}

function cell(name, value) {
  if (Array.isArray(value) && typeof value[0] === "object") return table(value);
  if (value && typeof value === "object" && !Array.isArray(value)) return Object.entries(value).filter(([, each]) => each !== null).map(([each, told]) => `${words(each)}: ${shown(each, told)}`).join(", ");
  return shown(name, value);
}

function shown(name, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number" && SECONDS.test(name)) return value < 0 ? `${seconds(-value)} ago` : seconds(value);
  if (typeof value === "string" && MOMENT.test(value)) return new Date(value).toLocaleTimeString("en-GB");
  if (name === "bytes" && typeof value === "number") return bytes(value);
  return Array.isArray(value) ? value.join(", ") : String(value);
}

const title = (name) => make("h3", {}, words(name));
const words = (name) => name.replaceAll("_", " ");
