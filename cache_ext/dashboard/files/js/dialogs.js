// Opens and closes dialogs; what an action came to is said in them.
import { make } from "./dom.js";

export function dialogFor(dialog, button, { allowed, hint, opened = () => {} }) {
  for (const each of dialog.querySelectorAll("[data-close]")) each.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
  const open = () => {
    if (!allowed || dialog.open || document.querySelector("dialog[open]")) return;
    opened();
    dialog.showModal();
  };
  button.disabled = !allowed;
  if (!allowed) button.title = hint;
  button.addEventListener("click", open);
  return open;
}

// Says in *place* how something goes; *kind*: "good", "bad" or nothing.
export function say(place, kind, ...parts) {
  place.className = `result ${kind}`;
  place.replaceChildren(...parts);
}

export function listed(names) {
  return make("ul", {}, ...names.map((name) => make("li", { class: "code" }, name)));
}

// Runs *act* with *controls* disabled; what it raises is said in *place*.
export async function acting(place, controls, act) {
  const states = controls.map((each) => each.disabled);
  controls.forEach((each) => { each.disabled = true; });
  try {
    await act();
  } catch (error) {
    say(place, "bad", `That did not work: ${error.message}.`);
  } finally {
    controls.forEach((each, number) => { each.disabled = states[number]; });
  }
}

export const HOW = { done: "Done.", queued: "Queued: Redis is away, and is told first of all when it is back." };
