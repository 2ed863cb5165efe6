// Empties the cache, for a reason.
import { ask } from "./api.js";
import { acting, dialogFor, HOW, say } from "./dialogs.js";
import { $ } from "./dom.js";

export function flushDialog(links, changed) {
  const [form, reason, result, done] = ["form", "reason", "result", "do"].map((part) => $(`flush-${part}`));
  const given = () => reason.value.trim();
  const look = () => { done.disabled = !given(); };
  reason.addEventListener("input", () => { say(result, ""); look(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    acting(result, [reason], async () => {
      done.disabled = true;
      const { found } = await ask(links.flush, { body: { reason: given() } });
      say(result, "good", HOW[found.outcome] ?? found.outcome);
      reason.value = "";
      changed();
    }).finally(look);
  });
  return dialogFor($("flush-dialog"), $("flush"), {
    allowed: Boolean(links.flush), hint: "This service has no route for it.",
    opened: () => { reason.value = ""; say(result, ""); look(); },
  });
}
