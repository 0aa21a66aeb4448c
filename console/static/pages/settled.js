// Settlement intervals: those that are open with their projection, and those that are closed.

import { request } from "/static/api.js";
import { el } from "/static/dom.js";
import { localTime, number, signed, utcDateTime } from "/static/format.js";
import { t } from "/static/i18n.js";
import { bar, problemLine, repeat } from "/static/pages/parts.js";
import { Table } from "/static/table.js";

const energy = (mwh) => (mwh === null ? "–" : `${signed(mwh, 2)} MWh`);
const span = (row) => el("span", { title: `${utcDateTime(row.start)} - ${utcDateTime(row.end)}` }, `${localTime(row.start).slice(0, 5)}–${localTime(row.end).slice(0, 5)}`);

// Shows the open intervals of some accounts, and with closed the last settled ones.
export function running(app, accounts, place, signal, { closed = false } = {}) {
  const problem = problemLine();
  const open = new Table(
    t("Open intervals"),
    [
      { title: t("Interval"), header: true, cell: span },
      { title: t("Passed"), cell: (row) => passed(row) },
      { title: t("Agreed"), numeric: true, cell: (row) => energy(row.scheduled_mwh) },
      { title: t("Metered so far"), numeric: true, cell: (row) => energy(row.metered_mwh) },
      { title: t("Inadvertent so far"), numeric: true, cell: (row) => energy(row.inadvertent_mwh) },
      { title: t("At its end"), numeric: true, cell: (row) => (row.projected_mwh === null ? (row.fault || "–") : energy(row.projected_mwh)) },
    ],
    (row) => `${row.account} ${row.minutes}`,
  );
  const settled = new Table(
    t("Settled intervals"),
    [
      { title: t("Interval"), header: true, cell: span },
      { title: t("Agreed"), numeric: true, cell: (row) => energy(row.scheduled_mwh) },
      { title: t("Metered"), numeric: true, cell: (row) => energy(row.metered_mwh) },
      { title: t("Inadvertent"), numeric: true, cell: (row) => energy(row.inadvertent_mwh) },
      { title: t("Measured"), numeric: true, cell: (row) => `${number(row.completeness_pct, 1)} %` },
      { title: t("Quality"), cell: (row) => t(row.quality) },
      { title: t("Revision"), numeric: true, cell: (row) => String(row.revision) },
    ],
    (row) => `${row.account} ${row.start}`,
  );
  place.append(problem, open.node, ...(closed ? [el("h3", {}, t("Settled quarter-hours")), settled.node] : []));
  const passed = (row) => {
    const share = (app.live.now() - row.start) / (row.end - row.start);
    return el("span", { class: "with-bar" }, bar(share), ` ${number(Math.min(1, share) * 100, 0)} %`);
  };
  repeat(
    signal,
    5000,
    async () => {
      const answers = await Promise.all(accounts.map((account) => request(`ledger?account=${encodeURIComponent(account)}&minutes=0`, { background: true })));
      open.show(answers.flatMap((each) => each.open), t("No interval is open"));
      settled.show(answers.flatMap((each) => each.intervals.filter((row) => row.minutes === 15)).slice(0, 12), t("No interval is settled yet"));
    },
    problem,
  );
}
