// Two conveniences; the page is complete without them. Copy a value, sort a table.
for (const value of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.setAttribute("aria-label", "Copy " + value.textContent.slice(0, 60));
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value.textContent);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(value);
      button.textContent = "selected";
    }
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  value.after(button);
}
const compare = (x, y) => (isNaN(x) || isNaN(y) ? x.localeCompare(y, "en") : x - y);
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const valueOf = (row, i) => row.cells[i].dataset.value ?? row.cells[i].textContent.trim();
  heads.forEach((head, i) =>
    head.querySelector("button").addEventListener("click", () => {
      const [first, other] = head.dataset.better === "high" ? ["descending", "ascending"] : ["ascending", "descending"];
      const order = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [valueOf(a, i), valueOf(b, i)];
        return (x === "") - (y === "") || sign * compare(x, y); // no value: last, either way
      });
      table.tBodies[0].append(...rows);
    }),
  );
}
