// The four charts.
import { Chart } from "./chart.js";
import { $ } from "./dom.js";
import { hitsOf } from "./figures.js";
import { percent, seconds, short } from "./format.js";

const YOUNG = 8; // seconds of a minute that say too little of it
const upTo = (least) => (_, low, high) => [0, Math.max(1.08 * high, least)];
const rate = (pick) => (minute) => pick(minute) / minute.length;

export function charts() {
  const all = [
    new Chart($("chart-hit-rate"), {
      title: "Hit rate", format: percent, fill: true, range: (_, low) => [lowest(low), 1],
      series: [{ name: "hits", colour: "l1", of: (minute) => (minute.reads ? hitsOf(minute) / minute.reads : null) }],
    }),
    new Chart($("chart-reads"), {
      title: "Reads a second", format: short, stacked: true, range: upTo(1),
      series: [
        { name: "error", colour: "error", of: rate((minute) => minute.errors) },
        { name: "stale", colour: "stale", of: rate((minute) => minute.stale) },
        { name: "miss", colour: "miss", of: rate((minute) => minute.misses) },
        { name: "L2", colour: "l2", of: rate((minute) => minute.hits.l2) },
        { name: "L1", colour: "l1", of: rate((minute) => minute.hits.l1) },
      ],
    }),
    new Chart($("chart-origin"), {
      title: "Origin, calls at once", format: short, stacked: true, range: upTo(0.1),
      series: [
        { name: "saved by hits", colour: "l1", of: rate((minute) => minute.load_seconds_saved) },
        { name: "made", colour: "miss", of: rate((minute) => minute.load_seconds) },
      ],
    }),
    new Chart($("chart-latency"), {
      title: "Latency, p95", format: seconds,
      series: [
        { name: "origin", colour: "miss", of: (minute) => minute.loads.p95 },
        { name: "Redis", colour: "l2", of: (minute) => minute.redis_reads.p95 },
      ],
    }),
  ];
  return (report) => {
    const minutes = report.minutes
      .map((minute, number, every) => ({ ...minute, length: number === every.length - 1 ? report.at - minute.at : 60 }))
      .filter((minute) => minute.length >= YOUNG);
    for (const chart of all) chart.show(minutes);
  };
}

// A hit rate that stays above 90 % is drawn large enough to see it move.
function lowest(low) {
  return [0.9, 0.5].find((bound) => (low ?? 1) > bound + 0.02) ?? 0;
}
