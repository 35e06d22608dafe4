// A link that carries the prompt, the models and what differs from the usual settings.

export const MOST_LINK_CHARACTERS = 3500;

// models: each a run id, a space and a checkpoint. The link, or null when it would be too long.
export function link({ path, prompt, models, settings, usual }) {
  const query = new URLSearchParams();
  for (const model of models.filter(Boolean)) {
    const [run, checkpoint] = model.split(" ");
    query.append("run", run);
    query.append("checkpoint", checkpoint);
  }
  if (prompt !== null) query.set("prompt", prompt);
  for (const [name, value] of Object.entries(settings)) if (value !== usual[name]) query.set(name, value);
  const address = `${path}?${query}`;
  return address.length <= MOST_LINK_CHARACTERS ? address : null;
}

// The models that an address names, in its order.
export function modelsOf(search) {
  const query = new URLSearchParams(search);
  const checkpoints = query.getAll("checkpoint");
  return query.getAll("run").map((run, index) => `${run} ${checkpoints[index] || "latest"}`);
}
