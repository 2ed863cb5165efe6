// Logs in, and goes to the dashboard.
const form = document.getElementById("login");
const fault = document.getElementById("fault");
const button = form.querySelector("button");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  fault.textContent = "";
  try {
    fault.textContent = await logIn(Object.fromEntries(new FormData(form)));
  } catch {
    fault.textContent = "The service cannot be reached. Try again.";
  }
  button.disabled = false;
});

async function logIn(credentials) {
  const response = await fetch("/api/auth/login", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify(credentials),
  });
  if (response.ok) {
    const { tier, username } = await response.json();
    if (tier !== "admin") return `${username} is no admin, and this is for admins.`;
    location.assign("/admin/cache");
    return "";
  }
  const wait = response.headers.get("Retry-After");
  const problem = await response.json();
  return wait && response.status === 429 ? `Too many attempts. Again in ${wait} s.` : problem.detail ?? problem.title;
}
