// Invalidates what is named: first a dry run says what that would hit, then a second press does it.
import { ask } from "./api.js";
import { acting, dialogFor, HOW, listed, say } from "./dialogs.js";
import { $ } from "./dom.js";
import { bytes } from "./format.js";
import { plural } from "./tables.js";

export function invalidateDialog(links, changed) {
  const [form, names, result, tried, done] = ["form", "names", "result", "try", "do"].map((part) => $(`invalidate-${part}`));
  let shown = null; // what the dry run was of

  const body = () => ({
    [new FormData(form).get("kind")]: [...new Set(names.value.split("\n").map((name) => name.trim()).filter(Boolean))],
  });
  const forget = () => {
    shown = null;
    done.disabled = true;
    done.textContent = "Invalidate";
    say(result, "");
  };

  form.addEventListener("input", forget);
  tried.addEventListener("click", () => form.reportValidity() && acting(result, [tried], async () => {
    const asked = body();
    const { found } = await ask(links.invalidate, { body: { ...asked, dry_run: true } });
    shown = asked;
    const about = found.estimate || found.share < 1 ? "about " : "";
    say(result, "", found.matched
      ? `It would hit ${about}${plural(found.matched, "entry", "").replace("entry", found.matched === 1 ? "entry" : "entries")} (${found.fresh} fresh, ${bytes(found.bytes)}), ${plural(found.copies, "copy", "").replace("copy", found.copies === 1 ? "copy" : "copies")} in the process that answered.`
      : "Nothing in Redis has that now. What is being loaded under it would not count either.", listed(found.names));
    done.textContent = found.matched ? `Invalidate ${found.matched}` : "Invalidate";
    done.disabled = false;
    done.focus();
  }));
  done.addEventListener("click", () => acting(result, [tried], async () => {
    const asked = shown;
    forget();
    const { found } = await ask(links.invalidate, { body: { ...asked, dry_run: false } });
    say(result, "good", HOW[found.outcome] ?? found.outcome);
    changed();
  }));
  form.addEventListener("submit", (event) => { event.preventDefault(); (shown ? done : tried).click(); });
  return dialogFor($("invalidate-dialog"), $("invalidate"), { allowed: Boolean(links.invalidate), hint: "This service has no route for it.", opened: forget });
}
