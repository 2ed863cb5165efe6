// Tables: one of caches, one of processes.
import { $, fill, gauge, make } from "./dom.js";
import { bytes, count, percent, seconds } from "./format.js";

const COLUMNS = [
  ["Cache"], ["Hit rate"], ["Reads"], ["L1"], ["L2"], ["Miss"], ["Stale"], ["Errors"],
  ["Loads"], ["p50", "of loads"], ["p95", "of loads"], ["Saved", "time of the origin"], ["Keys", "in Redis"], ["Size", "in Redis"],
  ["Evicted", "from L1"], ["Early", "refreshes before the end of the ttl"], ["Waits", "for loads of others"],
];

export function cachesTable(report) {
  const table = $("caches");
  fill(table.tHead, make("tr", {}, ...COLUMNS.map(([name, title]) => make("th", { scope: "col", title }, name))));
  const names = Object.keys(report.caches).sort((one, other) => report.caches[other].reads - report.caches[one].reads);
  const rows = names.map((name) => row(name, report.caches[name]));
  if (rows.length === 0) rows.push(make("tr", {}, make("td", { colspan: COLUMNS.length, class: "empty" }, "Nothing was read in the last hour.")));
  fill(table.tBodies[0], row("All", report.total, "total"), ...rows);
}

function row(name, told, kind = "") {
  const rate = told.hit_rate["60"];
  return make("tr", { class: kind, "data-cache": kind ? null : name },
    make("th", { scope: "row" }, name),
    make("td", {}, ...(rate === null ? [] : [gauge(rate, `Hit rate of ${name}`)]), beside(percent(rate))),
    number(told.reads), number(told.hits.l1), number(told.hits.l2), number(told.misses), number(told.stale),
    number(told.errors, "bad"), number(told.loads.count),
    make("td", {}, seconds(told.loads.p50)), make("td", {}, seconds(told.loads.p95)), make("td", {}, seconds(told.load_seconds_saved)),
    number(told.keys), make("td", {}, bytes(told.bytes)),
    number(told.evictions), number(told.early_refreshes), number(told.coalesced_waits));
}

const beside = (text) => make("span", { class: "beside-gauge" }, text);

function number(value, alarming = "") {
  return make("td", { class: value ? alarming : "zero" }, count(value));
}

const CIRCUIT = { closed: "good", open: "bad", "half-open": "warn" };

export function processesTable(report) {
  const hosts = new Set(report.processes.map((each) => each.host));
  $("processes-count").textContent = `${plural(hosts.size, "host")}, ${plural(report.processes.length, "process", "es")}`;
  const table = $("processes");
  fill(table.tHead, make("tr", {}, ...["Process", "L1", "Keys", "Pool", "Circuit", "Backplane"].map((name) => make("th", { scope: "col" }, name))));
  fill(table.tBodies[0], ...report.processes.map((each) => make("tr", {},
    make("th", { scope: "row" }, `${each.host} · ${each.pid}`),
    make("td", {}, gauge(each.l1_bytes / each.l1_max_bytes, `L1 of ${each.pid}`), beside(bytes(each.l1_bytes))),
    make("td", {}, count(each.l1_keys)),
    make("td", {}, `${each.pool_used} of ${each.pool_max}`),
    make("td", {}, make("span", { class: `pill ${CIRCUIT[each.circuit] ?? ""}` }, each.circuit)),
    make("td", {}, make("span", { class: `pill ${each.hears ? "good" : each.listens ? "bad" : ""}` }, each.hears ? "live" : each.listens ? "deaf" : "off")))));
}

export function plural(number, word, ending = "s") {
  return `${count(number)} ${word}${number === 1 ? "" : ending}`;
}
