// The process itself: throughput, where its consumers stand, what waits, and the disk.

import { request } from "/static/api.js";
import { el, time } from "/static/dom.js";
import { age, bytes, number, seconds } from "/static/format.js";
import { t } from "/static/i18n.js";
import { bar, Figures, heading, panel, problemLine, repeat } from "/static/pages/parts.js";
import { Table } from "/static/table.js";

export function system(app, main, _, __, signal) {
  main.className = "page";
  const problem = problemLine();
  const figures = new Figures([
    ["rate", t("Readings")],
    ["latency", t("Read to durable")],
    ["queued", t("Waiting to be durable")],
    ["disk", t("Disk free")],
    ["running", t("Running since")],
    ["version", t("Version")],
  ]);
  const stores = new Table(
    t("Stores"),
    [
      { title: t("Store"), header: true, cell: (row) => row.name },
      { title: t("Received"), numeric: true, cell: (row) => number(row.received, 0) },
      { title: t("Stored"), numeric: true, cell: (row) => number(row.stored, 0) },
      { title: t("Revised"), numeric: true, cell: (row) => number(row.revised, 0) },
      { title: t("Duplicates"), numeric: true, cell: (row) => number(row.duplicates, 0) },
      { title: t("Left out"), numeric: true, cell: (row) => number(row.suppressed, 0) },
      { title: t("Dead"), numeric: true, cell: (row) => number(row.dead_lettered, 0) },
      { title: t("Expired"), numeric: true, cell: (row) => number(row.expired, 0) },
      { title: t("Pending"), numeric: true, cell: (row) => number(row.pending, 0) },
      { title: t("Lag"), numeric: true, cell: (row) => flag(seconds(row.lag_s), row.lag_s > 10) },
      { title: t("Sum"), cell: (row) => flag(row.holds ? t("holds") : t("off by {count}", { count: row.unaccounted }), !row.holds) },
      { title: "", cell: (row) => flag(row.detail, row.detail !== "") },
    ],
    (row) => row.name,
  );
  const isStore = (name) => app.last.status?.stores.some((store) => store.name === name);
  const cursors = new Table(
    t("Cursors"),
    [
      { title: t("Consumer"), header: true, cell: (row) => row.name },
      { title: t("Record"), numeric: true, cell: (row) => number(row.offset, 0) },
      { title: t("Behind"), numeric: true, cell: (row) => flag(number(row.behind, 0), isStore(row.name) && row.behind > 10_000) },
    ],
    (row) => row.name,
  );
  const files = new Table(
    t("State directory"),
    [
      { title: t("File"), header: true, cell: (row) => row.name },
      { title: t("Size"), numeric: true, cell: (row) => bytes(row.size) },
    ],
    (row) => row.name,
  );
  const parts = new Table(
    t("Parts"),
    [
      { title: t("Part"), header: true, cell: (row) => row.name },
      { title: t("State"), cell: (row) => flag(t(row.state), row.state !== "running") },
      { title: t("Since"), cell: (row) => time(row.since) },
      { title: t("Restarts"), numeric: true, cell: (row) => flag(String(row.restarts), row.restarts > 0) },
      { title: t("Last error"), cell: (row) => row.error },
    ],
    (row) => row.name,
  );
  main.append(
    heading(t("System"), t("Every reading received is accounted for: stored, revised, a duplicate, left out, dead or expired.")),
    problem,
    figures.node,
    el("div", { class: "columns" }, panel(t("Stores"), [stores.node], { wide: true }), panel(t("Cursors in the journal"), [cursors.node], { note: t("rules and settlement stay back by what they may judge again") }), panel(t("State directory"), [files.node]), panel(t("Parts"), [parts.node], { wide: true })),
  );
  const showStatus = (status) => {
    if (!status) return;
    figures.set("rate", `${number(status.readings_per_s, 0)} /s`, { abnormal: status.readings_per_s === 0, note: t("{count} ever", { count: number(status.readings, 0) }) });
    figures.set("latency", seconds(status.read_to_durable.p50_s), { note: t("99 % within {time}", { time: seconds(status.read_to_durable.p99_s) }) });
    figures.set("running", time(status.started_at), { note: age(app.live.now() - status.started_at) });
    stores.show(status.stores);
  };
  app.live.addEventListener("status", (event) => showStatus(event.detail), { signal });
  showStatus(app.last.status);
  repeat(
    signal,
    5000,
    async () => {
      const found = await request("machinery", { background: true });
      figures.set("queued", number(found.queued, 0), { abnormal: found.trouble !== "", note: found.trouble });
      const share = found.disk_free / found.disk_total;
      figures.set("disk", el("span", { class: "with-bar" }, bar(1 - share, { abnormal: share < 0.1 }), ` ${bytes(found.disk_free)}`), { abnormal: share < 0.1, note: t("of {size}", { size: bytes(found.disk_total) }) });
      figures.set("version", found.version, { note: t("journal: records {first} to {head}", { first: number(found.first, 0), head: number(found.head, 0) }) });
      cursors.show(found.cursors, t("No consumers"));
      files.show([...found.files].sort((a, b) => b.size - a.size));
      parts.show([...found.parts].sort((a, b) => (a.state === "running") - (b.state === "running") || a.name.localeCompare(b.name)));
    },
    problem,
  );
}

function flag(text, abnormal) {
  return abnormal ? el("span", { class: "off" }, el("span", { class: "warn", "aria-hidden": "true" }, "!"), text) : text;
}
