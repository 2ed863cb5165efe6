// Makes elements; text is always text, never HTML.
export const $ = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function gauge(share, label, alarmingFrom = Infinity) {
  return make("progress", { class: share >= alarmingFrom ? "gauge full" : "gauge", max: 1, value: Math.min(1, share || 0).toFixed(3), "aria-label": label });
}

// Replaces what is in *parent*, unless it would be the same: who reads or points at it is not disturbed.
export function fill(parent, ...children) {
  const fresh = make(parent.tagName, {}, ...children);
  if (fresh.innerHTML === parent.innerHTML) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...fresh.childNodes);
  if (focused !== undefined) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}
