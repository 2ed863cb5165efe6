// What was invalidated lately, by whichever process, and why.
import { $, fill, make } from "./dom.js";
import { ago } from "./format.js";
import { shortened } from "./hot.js";
import { plural } from "./tables.js";

const SHOWN = 8;
const WHAT = { tags: "tag", "tags, softly": "tag", keys: "key" };

export function invalidations(report) {
  const rows = report.recent_invalidations.slice(0, SHOWN).map((each) => row(each, report.at));
  fill($("invalidations"), ...(rows.length ? rows : [make("li", { class: "empty" }, "Nothing was invalidated lately.")]));
}

function row(each, now) {
  const names = each.names.join(", ");
  const what = each.what === "everything" ? ["Everything"] : [
    `${plural(each.count, WHAT[each.what])}${each.what.endsWith("softly") ? ", softly" : ""}: `, make("code", {}, shortened(names))];
  return make("li", {},
    make("time", { datetime: each.at, title: each.at }, ago(Math.max(0, now - Date.parse(each.at) / 1000))),
    make("span", { class: "what", title: names }, ...what),
    make("span", { class: "why" }, [each.reason, each.applied ? "" : "queued"].filter(Boolean).join(", ")),
    make("span", { class: "who" }, each.host ? `${each.host} · ${each.pid}` : ""));
}
