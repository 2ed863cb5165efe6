// Asks the service; an error says what a person can do with it.
const PATIENCE = 10_000; // ms

export class Failure extends Error {
  constructor(message, status) {
    super(message);
    this.status = status; // 0: no answer at all
  }
}

export async function ask(url, { body, timeout = PATIENCE } = {}) {
  const sent = { signal: AbortSignal.timeout(timeout), cache: "no-store", credentials: "same-origin", headers: { Accept: "application/json" } };
  if (body !== undefined) {
    sent.method = "POST";
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(url, sent);
  } catch (error) {
    throw new Failure(error.name === "TimeoutError" ? `no answer within ${timeout / 1000} s` : "the service cannot be reached", 0);
  }
  let found = null;
  try { found = response.status === 204 ? null : await response.json(); } catch { /* the status says enough */ }
  if (!response.ok && !(response.status === 503 && found?.status === "unhealthy")) throw new Failure(described(response, found), response.status);
  return { found, location: response.headers.get("Location") };
}

function described(response, problem) {
  if (response.status === 401) return "nobody is logged in here any more";
  if (response.status === 429) return `too many requests; again in ${response.headers.get("Retry-After") ?? "some"} s`;
  const details = (problem?.errors ?? []).map((each) => [each.parameter, each.detail ?? each.code].filter(Boolean).join(": "));
  return [problem?.detail ?? problem?.title ?? `status ${response.status}`, ...details].join(" – ");
}
