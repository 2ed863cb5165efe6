// What is read most; a press explains it.
import { $, fill, gauge, make } from "./dom.js";
import { count } from "./format.js";

const SHOWN = 12;

// Without the host of a stored response: it is the same for most.
export const shortened = (key) => key.replace(/https?:\/\/[^/}]+/g, "");

export function hotKeys(explain) {
  $("hot").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && explain) explain("key", button.dataset.key);
  });
  return (report) => {
    const most = report.top_keys[0]?.reads ?? 0;
    const rows = report.top_keys.slice(0, SHOWN).map((each) => make("li", {},
      make("button", { type: "button", "data-key": each.name, title: each.name },
        make("code", {}, shortened(each.name)), gauge(each.reads / most, `Reads of ${each.name}`), make("span", {}, count(each.reads)))));
    fill($("hot"), ...(rows.length ? rows : [make("li", { class: "empty" }, "Nothing was read lately.")]));
  };
}
