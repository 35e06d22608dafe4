// The switch that tints tokens by how much they surprised the model: one choice for all pages that have it.

const KEPT_AS = "playground tint";

// field: the switch; node: what the tokens stand in.
export function keepTint(field, node) {
  const show = () => node.toggleAttribute("data-tinted", field.checked);
  try {
    field.checked = localStorage.getItem(KEPT_AS) !== "off";
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
  field.addEventListener("change", () => {
    show();
    try {
      localStorage.setItem(KEPT_AS, field.checked ? "on" : "off");
    } catch {
      // As above.
    }
  });
  show();
}
