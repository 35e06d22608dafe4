// JSON from this server.

// Without an answer, or with a refusal, null: the page goes on with what it has.
export async function fetchJson(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } }).catch(() => null);
  return response?.ok ? response.json() : null;
}
