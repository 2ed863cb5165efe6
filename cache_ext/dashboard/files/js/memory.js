// Memory of L1 and Redis, the circuit, the pool and the backplane.
import { $, fill, gauge, make } from "./dom.js";
import { bytes, count, percent, seconds } from "./format.js";
import { plural } from "./tables.js";

const MUCH = 0.9; // from there on it is full, or soon will be
const sum = (values) => values.reduce((total, value) => total + value, 0);

export function memory(report) {
  const used = sum(report.processes.map((each) => each.l1_bytes));
  const most = sum(report.processes.map((each) => each.l1_max_bytes));
  fill($("memory"),
    meter("L1", used, most, `${bytes(used)} of ${bytes(most)}`, "memory-l1"),
    ...redis(report.redis, report.shared),
    meter("Pool", report.pool.used, report.pool.max, `${count(report.pool.used)} of ${count(report.pool.max)}`, "pool"),
    line("Circuit", "circuit", ...circuit(report.circuit)),
    line("Backplane", "backplane", ...backplane(report.backplane)));
}

function redis(facts, shared) {
  if (!facts) return [line("Redis", "memory-redis", shared ? pill("bad", "does not answer") : "there is none")];
  const bounded = facts.max_memory_bytes !== null;
  const amount = bounded ? `${bytes(facts.memory_bytes)} of ${bytes(facts.max_memory_bytes)}` : bytes(facts.memory_bytes);
  const about = [
    `version ${facts.version}`, bounded ? facts.policy : "no bound", `up ${seconds(facts.uptime_seconds)}`,
    `round trip ${seconds(facts.latency_seconds)}`, plural(facts.clients, "client"), `${count(facts.evicted_keys)} evicted`,
  ];
  return [
    bounded ? meter("Redis", facts.memory_bytes, facts.max_memory_bytes, amount, "memory-redis") : line("Redis", "memory-redis", amount),
    line("", "redis-about", about.join(" · ")),
  ];
}

function circuit(states) {
  const kinds = { closed: "good", open: "bad", "half-open": "warn" };
  return Object.entries(states).filter(([, processes]) => processes)
    .flatMap(([state, processes]) => [pill(kinds[state] ?? "", `${count(processes)} ${state}`), " "]);
}

function backplane(told) {
  if (!told.live && !told.deaf) return [pill("", "off")];
  return [
    pill(told.deaf ? "bad" : "good", told.deaf ? `${count(told.deaf)} deaf` : `${count(told.live)} live`),
    ` at most ${seconds(told.bound_seconds)} behind`,
  ];
}

const pill = (kind, text) => make("span", { class: `pill ${kind}` }, text);

function meter(name, used, most, text, figure) {
  const share = most ? used / most : 0;
  return make("div", {}, make("dt", {}, name), make("dd", {}, gauge(share, `${name}: ${percent(share)}`, MUCH)), make("dd", { "data-figure": figure }, text));
}

function line(name, figure, ...told) {
  return make("div", {}, make("dt", {}, name), make("dd", { class: "line", "data-figure": figure }, ...told));
}
