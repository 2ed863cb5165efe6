// Alerts and recommendations: what is the matter, and what to change.
import { $, fill, make } from "./dom.js";

export function findings(report) {
  const found = [...report.alerts, ...report.recommendations];
  $("findings").hidden = found.length === 0;
  fill($("findings-list"), ...found.map((each) => make("li", { "data-rule": each.rule },
    make("span", { class: `pill ${each.level === "alert" ? "bad" : ""}` }, each.level === "alert" ? "Alert" : "Advice"),
    make("div", {}, `${each.cause[0].toUpperCase()}${each.cause.slice(1)}. `,
      make("span", { class: "change" }, ...(each.setting ? [make("code", {}, each.setting), ": "] : []), `${each.change}.`)))));
}
