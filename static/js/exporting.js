// The export page: the command below the choice of weights names those that are chosen.

const choice = document.getElementById("export-weights");

function name() {
  document.querySelector("[data-weights]").textContent = choice.value;
}

choice?.addEventListener("change", name);
// A browser may have kept what was chosen before.
if (choice) name();
