// Warms the cache: begins a job, and shows how far it is.
import { ask } from "./api.js";
import { acting, dialogFor, say } from "./dialogs.js";
import { $, make } from "./dom.js";
import { percent } from "./format.js";

const EVERY = 700; // ms
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const BAD = new Set(["failed", "cancelled"]);

export function warmDialog(links, changed) {
  const [form, pairs, result, begin] = ["form", "pairs", "result", "do"].map((part) => $(`warm-${part}`));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    acting(result, [begin, pairs], async () => {
      const named = pairs.value.split(",").map((pair) => pair.trim()).filter(Boolean);
      const begun = await ask(links.warm, { body: named.length ? { pairs: named } : {} });
      await follow(begun);
      changed();
    });
  });

  async function follow({ found: job, location }) {
    const bar = make("progress", { max: 1, "aria-label": "Progress of warming" });
    const word = make("span", {});
    say(result, "", word, bar);
    while (true) {
      const share = typeof job.progress === "number" ? job.progress : (job.progress?.share ?? null);
      if (share !== null) bar.value = share;
      word.textContent = `${job.status}${share === null ? "" : `, ${percent(share)}`}`;
      if (ENDED.has(job.status) || !location) break;
      await new Promise((after) => setTimeout(after, EVERY));
      ({ found: job } = await ask(location));
    }
    say(result, BAD.has(job.status) ? "bad" : "good", summary(job));
  }

  return dialogFor($("warm-dialog"), $("warm"), {
    allowed: Boolean(links.warm), hint: "This service has no route for it.",
    opened: () => say(result, ""),
  });
}

function summary(job) {
  if (BAD.has(job.status)) return `It ${job.status}${job.error ? `: ${typeof job.error === "string" ? job.error : JSON.stringify(job.error)}` : ""}.`;
  const told = Object.entries(job.result ?? {}).filter(([, value]) => ["number", "string"].includes(typeof value)).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  return ["Warmed", told.join(", ")].filter(Boolean).join(": ") + ".";
}
