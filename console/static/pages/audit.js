// The audit: who did what and when; whether the chain of digests is whole.

import { request } from "/static/api.js";
import { el, setText, time } from "/static/dom.js";
import { number } from "/static/format.js";
import { t } from "/static/i18n.js";
import { heading, panel, problemLine, repeat } from "/static/pages/parts.js";
import { Table } from "/static/table.js";

const AT_A_TIME = 100;

export function audit(app, main, _, __, signal) {
  main.className = "page";
  const problem = problemLine();
  const verdict = el("p", { class: "pad", role: "status" });
  const search = el("input", { type: "search", placeholder: t("person, action or subject"), "aria-label": t("Search") });
  const table = new Table(
    t("Audit"),
    [
      { title: t("Number"), header: true, numeric: true, cell: (row) => String(row.number) },
      { title: t("Time"), cell: (row) => time(row.t) },
      { title: t("Who"), cell: (row) => row.who },
      { title: t("Action"), cell: (row) => row.action },
      { title: t("Subject"), cell: (row) => row.subject },
      { title: t("Outcome"), cell: (row) => (row.outcome === "done" ? t("done") : el("strong", {}, t(row.outcome))) },
      { title: t("Details"), cell: (row) => Object.entries(row.details).map(([name, text]) => `${name}: ${text}`).join("; ") },
      { title: t("Digest"), cell: (row) => el("code", { title: row.digest }, row.digest.slice(0, 10)) },
    ],
    (row) => String(row.number),
  );
  let entries = [];
  const more = el("button", { type: "button", onclick: () => older() }, t("Show older ones"));
  main.append(heading(t("Audit"), t("Appended and never changed; each entry holds the digest of the one before it.")), panel(t("Entries"), [problem, verdict, el("div", { class: "filters" }, search), table.node, el("div", { class: "pad" }, more)], { wide: true }));

  function show() {
    const words = search.value.trim().toLowerCase();
    const text = (row) => `${row.who} ${row.action} ${row.subject} ${row.outcome} ${Object.values(row.details).join(" ")}`.toLowerCase();
    table.show(entries.filter((row) => text(row).includes(words)), t("Nothing was done yet"));
    more.hidden = entries.length === 0 || entries.at(-1).number <= 1;
  }

  async function older() {
    const found = await request(`audit?limit=${AT_A_TIME}&before=${entries.at(-1).number}`);
    entries = [...entries, ...found.entries];
    show();
  }

  search.addEventListener("input", show);
  repeat(
    signal,
    10_000,
    async () => {
      const found = await request(`audit?limit=${AT_A_TIME}`, { background: true });
      const newest = entries[0]?.number ?? 0;
      entries = entries.length === 0 ? found.entries : [...found.entries.filter((row) => row.number > newest), ...entries];
      verdict.classList.toggle("problem", found.fault !== "");
      setText(verdict, found.fault || t("Entries: {count}; the chain is whole.", { count: number(found.total, 0) }));
      show();
    },
    problem,
  );
}
