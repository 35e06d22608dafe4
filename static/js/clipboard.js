// Copying. Browsers offer the clipboard to pages of this machine or over HTTPS alone; elsewhere the
// text is selected in a field that nobody sees, and copied as a person would.

export async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden-label";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
