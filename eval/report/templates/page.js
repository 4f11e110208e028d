"use strict";
// Filters: a sample is visible while one of its cells is.
for (const box of document.querySelectorAll(".samples")) {
  const form = box.querySelector(".filters");
  const samples = [...box.querySelectorAll(".sample")];
  const value = (name) => (form.elements[name] ? form.elements[name].value : "");
  const is = (name, node) => !value(name) || node.dataset[name] === value(name);

  const apply = () => {
    const words = value("words").trim().toLowerCase();
    let cells = 0, shown = 0;
    for (const sample of samples) {
      const named = !words || sample.dataset.words.includes(words);
      let left = 0;
      for (const cell of sample.querySelectorAll(".cell")) {
        const said = named || (cell.dataset.words || "").includes(words);
        cell.hidden = !(said && is("method", cell) && is("run", cell) && is("status", cell));
        left += cell.hidden ? 0 : 1;
      }
      sample.hidden = !left || !is("category", sample) || !is("edit", sample);
      if (!sample.hidden) { shown += 1; cells += left; }
    }
    form.querySelector("output").value = `${shown} of ${samples.length} samples, ${cells} results`;
    box.querySelector(".nothing").hidden = shown > 0;
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  // The number of failures in a table links to the failed samples.
  for (const link of document.querySelectorAll(`a[data-study="${box.dataset.study}"]`)) {
    link.addEventListener("click", () => {
      form.reset();
      for (const name of ["run", "status"]) form.elements[name].value = link.dataset[name];
      apply();
    });
  }
  apply();
}
