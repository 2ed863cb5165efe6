// Trades the one-time link for a session. What follows the # never leaves the browser but by this request.
const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
history.replaceState(null, "", location.pathname);

async function enter() {
  const response = await fetch("/api/auth/once", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ token }),
  });
  if (!response.ok) throw new Error((await response.json()).detail);
  location.replace("/admin/cache");
}

try {
  await enter();
} catch (error) {
  document.getElementById("told").textContent = "This link does not open anything.";
  document.getElementById("fault").textContent = `${error.message} Stop the service and start it again: it prints a new link.`;
}
