"use strict";

/* Sorting: a click on the head of a column, or Enter on it, sorts by that column; again, the other way round. */
function sortKey(cell) {
  const text = (cell?.textContent || "").trim();
  const number = parseFloat(text.replace(/[−–](?=\d)/, "-").replace(/^[^\d.-]+/, ""));
  return { text, number: /\d/.test(text) && !/[a-z]{3}/i.test(text) ? number : NaN };
}

function compareKeys(one, other) {
  if (!Number.isNaN(one.number) && !Number.isNaN(other.number)) return one.number - other.number;
  if (Number.isNaN(one.number) !== Number.isNaN(other.number)) return Number.isNaN(one.number) ? 1 : -1;
  return one.text.localeCompare(other.text, undefined, { numeric: true });
}

function sortTable(table, head, column) {
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: sortKey(row.cells[column]) }));
  rows.sort((one, other) => direction * compareKeys(one.key, other.key));
  table.tBodies[0].append(...rows.map((item) => item.row));
  [...head.parentNode.cells].forEach((cell) => cell.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

function startSorting(table) {
  if (!table.tHead || table.tBodies[0]?.rows.length < 2) return;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    head.tabIndex = 0;
    head.title = "Sort by this column";
    head.addEventListener("click", () => sortTable(table, head, column));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sortTable(table, head, column); });
  });
}

/* Rating: what a reader thinks of each scan, kept in this browser, saved as tables. */
const RATING_COLUMNS = ["subject", "session", "modality", "rating", "reason", "who", "date"];
const EXCLUSION_COLUMNS = ["subject", "session", "modality", "reason", "who", "date"];

function plain(text) {
  return String(text).replace(/[\t\r\n]+/g, " ").trim();
}

function saveTable(name, columns, rows) {
  const lines = [columns, ...rows.map((row) => columns.map((column) => plain(row[column])))];
  const blob = new Blob([lines.map((line) => line.join("\t")).join("\n") + "\n"], { type: "text/tab-separated-values" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

class Rating {
  constructor(section) {
    this.section = section;
    this.who = section.querySelector(".who");
    this.lines = [...section.querySelectorAll("tbody tr")];
    this.message = section.querySelector(".message");
    this.store = `scan2map ratings ${location.pathname}`;
    this.restore();
    section.addEventListener("change", () => this.keep());
    section.querySelector(".save-ratings").addEventListener("click", () => this.saveRatings());
    section.querySelector(".save-exclusions").addEventListener("click", () => this.saveExclusions());
    section.querySelector(".load-ratings").addEventListener("change", (event) => this.load(event.target.files[0]));
  }

  rows() {
    const date = new Date().toISOString().slice(0, 10);
    return this.lines.map((line) => ({
      ...line.dataset, rating: line.querySelector("select").value, reason: line.querySelector("input").value,
      who: this.who.value, date,
    })).filter((row) => row.rating);
  }

  saveRatings() {
    const rows = this.rows();
    saveTable("ratings.tsv", RATING_COLUMNS, rows);
    this.say(`${rows.length} ratings saved as ratings.tsv.`);
  }

  saveExclusions() {
    const rows = this.rows().filter((row) => row.rating === "exclude");
    const silent = rows.filter((row) => !plain(row.reason));
    if (silent.length) {
      this.say(`Give a reason for ${silent.map((row) => `sub-${row.subject} ses-${row.session} ${row.modality}`).join(", ")}.`);
      return;
    }
    saveTable("exclusions.tsv", EXCLUSION_COLUMNS, rows);
    this.say(`${rows.length} exclusions saved as exclusions.tsv: put its rows into the table that input.exclusions names.`);
  }

  async load(file) {
    if (file) this.show((await file.text()).trim().split("\n").map((line) => line.split("\t")));
  }

  show([columns, ...rows]) {
    let count = 0;
    for (const cells of rows) {
      const row = Object.fromEntries(columns.map((column, index) => [column, cells[index] || ""]));
      const line = this.lines.find(({ dataset }) => ["subject", "session", "modality"].every((key) => dataset[key] === row[key]));
      if (!line) continue;
      line.querySelector("select").value = row.rating;
      line.querySelector("input").value = row.reason;
      this.who.value = this.who.value || row.who || "";
      count += 1;
    }
    this.keep();
    this.say(`${count} of ${rows.length} ratings are of this study.`);
  }

  /* A browser may refuse storage for pages opened from a path: the tables are what counts. */
  keep() {
    try { localStorage.setItem(this.store, JSON.stringify([RATING_COLUMNS, ...this.rows().map((row) => RATING_COLUMNS.map((name) => row[name]))])); } catch { /* no storage */ }
  }

  restore() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(this.store)); } catch { /* no storage */ }
    if (kept && kept.length > 1) this.show(kept);
  }

  say(text) {
    this.message.textContent = text;
  }
}

document.querySelectorAll("main table").forEach(startSorting);
document.querySelectorAll("#rating").forEach((section) => new Rating(section));
