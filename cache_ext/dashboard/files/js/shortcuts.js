// Keys that do something, and the list of them.
import { $, make } from "./dom.js";

export function shortcuts(keys) {
  const dialog = $("help-dialog");
  $("help-keys").append(...keys.flatMap(({ key, does }) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, does)]));
  $("help").addEventListener("click", () => dialog.showModal());
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.target.closest("input, textarea, select, dialog")) return;
    const found = keys.find(({ key }) => key === event.key);
    if (found?.act) {
      event.preventDefault();
      found.act();
    }
  });
}
