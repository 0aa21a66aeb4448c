// Tables: a head, rows that are kept by key, so that an update takes neither focus nor selection away.

import { el } from "/static/dom.js";

export class Table {
  // columns: [{title, cell(row) -> node or text, numeric?, title?}]; key(row) is unique.
  constructor(caption, columns, key) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    this.body = el("tbody");
    this.empty = el("p", { class: "calm", hidden: true });
    const head = columns.map((column) => el("th", { scope: "col", class: column.numeric ? "numeric" : null }, column.title));
    this.node = el(
      "div",
      { class: "table-scroll", tabindex: 0, role: "region", "aria-label": caption },
      el("table", {}, el("caption", { class: "unseen" }, caption), el("thead", {}, el("tr", {}, ...head)), this.body),
      this.empty,
    );
  }

  show(rows, none = "") {
    const wanted = new Set(rows.map(this.key));
    for (const [key, row] of this.rows) {
      if (!wanted.has(key)) {
        row.node.remove();
        this.rows.delete(key);
      }
    }
    rows.forEach((row, place) => {
      const key = this.key(row);
      let kept = this.rows.get(key);
      if (!kept) {
        const cells = this.columns.map((column) => el(column.header ? "th" : "td", { scope: column.header ? "row" : null, class: column.numeric ? "numeric" : null }));
        kept = { node: el("tr", {}, ...cells), cells };
        this.rows.set(key, kept);
      }
      this.columns.forEach((column, i) => {
        const content = column.cell(row);
        const cell = kept.cells[i];
        if (typeof content === "string") {
          if (cell.childElementCount > 0 || cell.textContent !== content) cell.textContent = content;
        } else if (!cell.firstChild || !same(cell, content)) cell.replaceChildren(...(content === null ? [] : [content]));
      });
      const there = this.body.children[place];
      if (there !== kept.node) this.body.insertBefore(kept.node, there ?? null);
    });
    this.empty.hidden = rows.length > 0 || none === "";
    this.empty.textContent = none;
  }
}

// What is focused stays: a cell with equal content is left alone.
function same(cell, content) {
  return content !== null && cell.childNodes.length === 1 && cell.firstChild.isEqualNode?.(content) && !content.querySelector?.("button, input, select") && content.tagName !== "BUTTON";
}
