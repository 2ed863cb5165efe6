// The six figures at the top, and the pill beside the name.
import { $, make } from "./dom.js";
import { count, percent, seconds, short } from "./format.js";

export const hitsOf = (told) => Object.values(told.hits).reduce((sum, hits) => sum + hits, 0);

// Reads a second, over the minute under way and the one before it.
export function readsRate(report) {
  const lately = report.minutes.slice(-2);
  if (lately.length === 0) return null;
  const elapsed = Math.max(1, report.at - lately[0].at);
  return lately.reduce((sum, minute) => sum + minute.reads, 0) / elapsed;
}

export function figures(report) {
  const total = report.total;
  const redis = report.operations.read ?? { p50: null, p95: null, p99: null };
  const share = (part) => (total.reads ? part / total.reads : null);
  set("hit_rate", percent(total.hit_rate["5"]));
  set("hit_rate_hour", `5 min · hour ${percent(total.hit_rate["60"])}`);
  set("reads_rate", short(readsRate(report)), "/s");
  set("reads_hour", `${count(total.reads)} in the hour`);
  set("saved", seconds(total.load_seconds_saved));
  set("loads", total.loads.count ? `${count(total.loads.count)} loads · 1 in ${short(total.reads / total.loads.count)}` : "no loads in the hour");
  set("load_p95", seconds(total.loads.p95));
  set("load_others", `p50 ${seconds(total.loads.p50)} · p99 ${seconds(total.loads.p99)}`);
  set("redis_p95", seconds(redis.p95));
  set("redis_others", `p50 ${seconds(redis.p50)} · p99 ${seconds(redis.p99)}`);
  set("errors", percent(share(total.errors)));
  set("stale", `stale ${percent(share(total.stale))}`);
  place("errors").closest(".tile").classList.toggle("bad", total.errors > 0.01 * total.reads);
}

export function status(report, health) {
  const alerts = report?.alerts.length ?? 0;
  const word = health?.status ?? null;
  let [kind, text] = ["", "Loading"];
  if (word === "unhealthy") [kind, text] = ["bad", "Unhealthy"];
  else if (word === "degraded") [kind, text] = ["warn", "Degraded"];
  else if (report) [kind, text] = alerts ? ["warn", ""] : ["good", "Healthy"];
  if (alerts) text = [text, `${alerts} ${alerts === 1 ? "alert" : "alerts"}`].filter(Boolean).join(" · ");
  const pill = $("status");
  pill.className = `pill ${kind}`;
  if (pill.textContent !== text) pill.textContent = text;
  document.title = kind === "good" || !kind ? "Cache" : `${text} · Cache`;
}

const place = (name) => document.querySelector(`[data-figure="${name}"]`);

// A number in large digits, its units in small ones.
function set(name, text, unit = "") {
  const parent = place(name);
  if (!parent.classList.contains("figure")) {
    parent.textContent = parent.title = text;
    return;
  }
  const parts = text.split(" ").flatMap((part, number) => {
    const [value, measure] = part.split("\u202f");
    return [
      make("span", { class: number ? "more" : "" }, value),
      ...(measure || unit ? [make("span", { class: "unit" }, (measure ?? "") + unit)] : []),
    ];
  });
  if (text.startsWith("<")) parts.splice(0, parts.length, text);
  parent.replaceChildren(...parts);
}
