// Joins the parts of the page.
import { ask } from "./api.js";
import { charts } from "./charts.js";
import { $ } from "./dom.js";
import { explainBox } from "./explain.js";
import { figures, status } from "./figures.js";
import { findings } from "./findings.js";
import { flushDialog } from "./flush.js";
import { Freshness } from "./freshness.js";
import { hotKeys } from "./hot.js";
import { invalidateDialog } from "./invalidate.js";
import { invalidations } from "./invalidations.js";
import { memory } from "./memory.js";
import { Poll } from "./poll.js";
import { shortcuts } from "./shortcuts.js";
import { cachesTable, processesTable } from "./tables.js";
import { themeButton } from "./theme.js";
import { warmDialog } from "./warm.js";

const STATS_EVERY = 3_000, HEALTH_EVERY = 9_000; // ms

const links = JSON.parse(document.body.dataset.links);
const known = { report: null, health: null };
const freshness = new Freshness(links);
const explain = explainBox(links);
const parts = [figures, findings, charts(), cachesTable, memory, hotKeys(explain), processesTable, invalidations];

const polls = [new Poll(links.stats, STATS_EVERY, {
  data(report) {
    known.report = report;
    for (const part of parts) part(report);
    status(report, known.health);
    freshness.arrived(report);
  },
  failure: (error) => freshness.failed(error),
})];
if (links.health) {
  polls.push(new Poll(links.health, HEALTH_EVERY, {
    data(health) { known.health = health; status(known.report, health); },
    failure() { known.health = null; },
  }));
}
const again = () => polls.forEach((poll) => poll.resume());
const pause = $("pause");
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Go on" : "Pause";
  freshness.pause(paused);
  polls.forEach((poll) => poll.pause(paused));
});

themeButton($("theme"));
shortcuts([
  { key: "w", does: "Warm", act: warmDialog(links, again) },
  { key: "i", does: "Invalidate", act: invalidateDialog(links, again) },
  { key: "f", does: "Flush", act: flushDialog(links, again) },
  { key: "e", does: "Explain a key, a path or a request", act: () => $("explain-name").focus() },
  { key: "r", does: "Ask for new figures now", act: again },
  { key: "p", does: "Pause, or go on", act: () => pause.click() },
  { key: "t", does: "Light or dark", act: () => $("theme").click() },
  { key: "?", does: "This list", act: () => $("help").click() },
  { key: "Esc", does: "Close what is open" },
]);
if (links.logout && links.login) {
  $("logout").hidden = false;
  $("logout").addEventListener("click", async () => {
    try { await ask(links.logout, { body: {} }); } finally { location.assign(links.login); }
  });
}
if (links.manual) {
  $("manual").hidden = false;
  $("manual").href = links.manual;
}
again();
