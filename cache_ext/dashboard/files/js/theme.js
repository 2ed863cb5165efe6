// Changes between light and dark, and keeps the choice.
export function themeButton(button) {
  const name = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    button.textContent = next === "dark" ? "Dark" : "Light";
    button.setAttribute("aria-label", `Change to the ${next} theme`);
    return next;
  };
  button.addEventListener("click", () => {
    const next = name();
    try { localStorage.setItem("cache-theme", next); } catch { /* it holds until the page is left */ }
    document.documentElement.dataset.theme = next;
    dispatchEvent(new CustomEvent("theme", { detail: next }));
  });
  addEventListener("theme", name);
  name();
}
