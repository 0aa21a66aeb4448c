// Data quality: what came of what was due, where it broke off, how late it was, and what could not become a reading.

import { request } from "/static/api.js";
import { el, svg, time } from "/static/dom.js";
import { age, number, seconds } from "/static/format.js";
import { t } from "/static/i18n.js";
import { Figures, heading, panel, problemLine, repeat } from "/static/pages/parts.js";
import { Table } from "/static/table.js";

// An hour as sixty cells: full, part of what was due, nothing.
function strip(row) {
  if (row.minutes.length === 0) return el("span", { class: "note" }, row.expected_per_minute > 0 ? "–" : t("by exception"));
  const begin = 60 - row.minutes.length; // a site that began within the hour
  const cells = row.minutes.map((count, i) => {
    const part = count / row.expected_per_minute;
    const kind = count === 0 ? "none" : part < 0.9 ? "some" : "full";
    return svg("rect", { x: (begin + i) * 3, y: kind === "full" ? 4 : kind === "some" ? 2 : 0, width: 2.4, height: kind === "full" ? 6 : kind === "some" ? 8 : 12, class: `cell ${kind}` });
  });
  return svg("svg", { width: 180, height: 12, viewBox: "0 0 180 12", class: "hour", role: "img", "aria-label": t("{count} gaps in the last hour", { count: row.gaps }) }, ...cells);
}

export function quality(app, main, _, __, signal) {
  main.className = "page";
  const problem = problemLine();
  const waiting = el("p", { class: "calm" }, t("Looking at the last hour of every device ..."));
  const figures = new Figures([
    ["complete", t("Completeness, last hour")],
    ["gaps", t("Devices with gaps")],
    ["silent", t("Devices without any reading")],
    ["late", t("Largest delay")],
    ["letters", t("Dead letters held")],
  ]);
  const search = el("input", { type: "search", placeholder: t("device or link"), "aria-label": t("Search") });
  const only = el("input", { type: "checkbox", checked: true });
  const devices = new Table(
    t("Devices"),
    [
      { title: t("Device"), header: true, cell: (row) => row.device },
      { title: t("Link"), cell: (row) => row.link },
      { title: t("Good points"), numeric: true, cell: (row) => mark(`${row.good} / ${row.points}`, row.good < row.points) },
      { title: t("Complete"), numeric: true, cell: (row) => (row.completeness_pct === null ? "–" : mark(`${number(row.completeness_pct, 1)} %`, row.completeness_pct < 99)) },
      { title: t("Last hour"), cell: strip },
      { title: t("Gaps"), numeric: true, cell: (row) => mark(String(row.gaps), row.gaps > 0) },
      { title: t("Delay"), numeric: true, cell: (row) => (row.delay_s === null ? "–" : mark(seconds(row.delay_s), Math.abs(row.delay_s) > 5)) },
      { title: t("Newest"), numeric: true, cell: (row) => (row.t_received === null ? "–" : t("{age} ago", { age: age(app.live.now() - row.t_received) })) },
    ],
    (row) => row.device,
  );
  const counts = new Table(
    t("Dead letters by reason"),
    [
      { title: t("Source"), header: true, cell: (row) => row.source },
      { title: t("Reason"), cell: (row) => row.reason.replaceAll("_", " ") },
      { title: t("Held"), numeric: true, cell: (row) => number(row.count, 0) },
    ],
    (row) => `${row.source} ${row.reason}`,
  );
  const letters = new Table(
    t("Newest dead letters"),
    [
      { title: t("Number"), header: true, numeric: true, cell: (row) => String(row.number) },
      { title: t("Received"), cell: (row) => time(row.t_received) },
      { title: t("Address"), cell: (row) => `${row.source} ${row.address}` },
      { title: t("What is wrong"), cell: (row) => row.detail },
    ],
    (row) => String(row.number),
  );
  const trips = new Table(
    t("Round trips"),
    [
      { title: t("Link"), header: true, cell: (row) => row.link },
      { title: t("Mean"), numeric: true, cell: (row) => seconds(row.mean_s) },
      { title: t("95 % within"), numeric: true, cell: (row) => (row.p95_s === null ? "> 2.5 s" : seconds(row.p95_s)) },
      { title: t("Polls"), numeric: true, cell: (row) => number(row.polls, 0) },
    ],
    (row) => row.link,
  );
  const links = new Table(
    t("Links"),
    [
      { title: t("Link"), header: true, cell: (row) => row.link },
      { title: t("State"), cell: (row) => mark(row.up ? t("up") : t("down"), !row.up) },
      { title: t("Since"), cell: (row) => time(row.since) },
      { title: "", cell: (row) => row.detail },
    ],
    (row) => row.link,
  );
  main.append(
    heading(t("Data quality"), t("What came of what was due; delays hold latency and clock errors together.")),
    problem,
    waiting,
    figures.node,
    el(
      "div",
      { class: "columns" },
      panel(t("Devices"), [el("div", { class: "filters" }, search, el("label", {}, only, ` ${t("only what is not in order")}`)), devices.node], { wide: true }),
      panel(t("Links"), [links.node]),
      panel(t("Round trips (Modbus)"), [trips.node], { note: t("since the start") }),
      panel(t("Dead letters by reason"), [counts.node]),
      panel(t("Newest dead letters"), [letters.node]),
    ),
  );
  let report = null;
  const wrong = (row) => row.good < row.points || row.gaps > 0 || (row.completeness_pct ?? 100) < 99 || Math.abs(row.delay_s ?? 0) > 5;

  function show() {
    if (report === null) return;
    const due = report.devices.filter((row) => row.completeness_pct !== null);
    const mean = due.length ? due.reduce((sum, row) => sum + row.completeness_pct, 0) / due.length : null;
    figures.set("complete", mean === null ? "–" : `${number(mean, 2)} %`, { abnormal: mean !== null && mean < 99, note: t("of {count} devices", { count: due.length }) });
    const broken = report.devices.filter((row) => row.gaps > 0).length;
    figures.set("gaps", String(broken), { abnormal: broken > 0 });
    const silent = report.devices.filter((row) => row.t_source === null).length;
    figures.set("silent", String(silent), { abnormal: silent > 0 });
    const late = report.devices.reduce((worst, row) => (Math.abs(row.delay_s ?? 0) > Math.abs(worst?.delay_s ?? 0) ? row : worst), null);
    figures.set("late", late === null ? "–" : seconds(late.delay_s), { abnormal: Math.abs(late?.delay_s ?? 0) > 5, note: late?.device ?? "" });
    const held = report.letters.reduce((sum, row) => sum + row.count, 0);
    figures.set("letters", number(held, 0), { note: report.letters_dropped ? t("{count} dropped for space", { count: report.letters_dropped }) : "" });
    const words = search.value.trim().toLowerCase();
    const chosen = report.devices.filter((row) => `${row.device} ${row.link}`.toLowerCase().includes(words) && (!only.checked || wrong(row)));
    chosen.sort((a, b) => (a.completeness_pct ?? 101) - (b.completeness_pct ?? 101) || a.device.localeCompare(b.device));
    devices.show(chosen, only.checked ? t("All devices are in order") : t("No device matches"));
    counts.show(report.letters, t("No dead letters"));
    letters.show(report.newest_letters, t("No dead letters"));
    trips.show([...report.round_trips].sort((a, b) => b.mean_s - a.mean_s), t("No Modbus links"));
  }

  function showLinks(status) {
    if (status) links.show([...status.links].sort((a, b) => a.up - b.up || a.link.localeCompare(b.link)), t("No links"));
  }

  search.addEventListener("input", show);
  only.addEventListener("change", show);
  app.live.addEventListener("status", (event) => showLinks(event.detail), { signal });
  showLinks(app.last.status);
  repeat(
    signal,
    15_000,
    async () => {
      report = await request("quality", { background: true });
      waiting.hidden = true;
      show();
    },
    problem,
  );
}

function mark(text, abnormal) {
  return abnormal ? el("span", { class: "off" }, el("span", { class: "warn", "aria-hidden": "true" }, "!"), text) : text;
}
