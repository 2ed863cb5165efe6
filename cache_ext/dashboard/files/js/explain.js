// Asks what became of a key, a path or a request, and shows the answer.
import { ask } from "./api.js";
import { $, make } from "./dom.js";
import { explanation } from "./explanation.js";

export function explainBox(links) {
  const [form, kind, name, place] = [$("explain"), $("explain-kind"), $("explain-name"), $("explanation")];
  const button = form.querySelector("button");
  if (!links.explain) {
    for (const each of [kind, name, button]) each.disabled = true;
    name.placeholder = "This service has no route that explains.";
    return null;
  }
  name.addEventListener("input", () => { if (name.value.startsWith("/")) kind.value = "path"; else if (kind.value === "path") kind.value = "key"; });

  let latest = 0;
  async function explain(asked, of) {
    [kind.value, name.value] = [asked, of];
    const mine = (latest += 1);
    place.replaceChildren(make("p", { class: "empty" }, "Asking all processes …"));
    try {
      const { found } = await ask(`${links.explain}?${new URLSearchParams({ [asked]: of })}`);
      if (mine === latest) place.replaceChildren(...explanation(found));
    } catch (error) {
      if (mine === latest) place.replaceChildren(make("p", { class: "result bad" }, `That cannot be explained: ${error.message}.`));
    }
  }
  form.addEventListener("submit", (event) => { event.preventDefault(); if (name.value.trim()) explain(kind.value, name.value.trim()); });
  return (asked, of) => {
    form.scrollIntoView({ block: "center" });
    name.focus();
    return explain(asked, of);
  };
}
