// Sets light or dark before anything is drawn: what was chosen here, else what the system prefers.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => { try { return localStorage.getItem("cache-theme"); } catch { return null; } };
  const apply = () => {
    const name = chosen() ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = name;
    dispatchEvent(new CustomEvent("theme", { detail: name }));
  };
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);
  apply();
})();
