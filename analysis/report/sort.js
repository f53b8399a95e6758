"use strict";
// A click (or Enter, or space) on a heading sorts its table: numbers by size, text by its
// letters, what is not known last either way.
const UNKNOWN = "–";
const words = new Intl.Collator("en", { numeric: true });

const cellOf = (row, column) => row.cells[column].textContent.trim();
const numberOf = (text) => Number(text.replaceAll(",", ""));

function compare(a, b, numeric) {
  return numeric ? numberOf(a) - numberOf(b) : words.compare(a, b);
}

function sort(table, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  const column = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const rows = [...table.tBodies[0].rows].sort((one, other) => {
    const [a, b] = [cellOf(one, column), cellOf(other, column)];
    if (a === UNKNOWN || b === UNKNOWN) return (a === UNKNOWN) - (b === UNKNOWN);
    return (down ? -1 : 1) * compare(a, b, numeric);
  });
  for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table")) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => sort(table, heading));
  }
}
