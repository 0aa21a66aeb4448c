// One area: frequency, exchange against schedule, its ties, busbars and plants.

import { request } from "/static/api.js";
import { Chart } from "/static/chart.js";
import { el } from "/static/dom.js";
import { number, signed } from "/static/format.js";
import { t } from "/static/i18n.js";
import { alarmLinks, bar, Figures, follow, heading, missing, panel, problemLine, repeat } from "/static/pages/parts.js";
import { running } from "/static/pages/settled.js";
import { usable, value } from "/static/readings.js";
import { Table } from "/static/table.js";

const localHour = (live, area) => {
  const at = new Date(live.now() + area.utc_offset_h * 3_600_000);
  return at.toISOString().slice(11, 16);
};

export function area(app, main, parts, _, signal) {
  main.className = "page";
  const { site, exchange, live } = app;
  const id = parts.id ?? site.areas[0]?.id;
  const about = site.areas.find((each) => each.id === id);
  if (!about) return missing(main, t("There is no area {name}.", { name: id ?? "" }), "/areas");
  const nodes = site.nodes.filter((node) => node.area === id);
  const names = new Set(nodes.map((node) => node.id));
  const plants = site.devices.filter((device) => device.role === "plant" && names.has(device.node) && device.enabled);
  const point = new Map(site.points.map((each) => [each.path, each.index]));
  const figures = new Figures([
    ["frequency", t("Frequency")],
    ["net", t("Net position, + is export")],
    ["schedule", t("Agreed")],
    ["deviation", t("Deviation")],
    ["time", t("Local time there")],
  ]);
  const ties = new Table(
    t("Ties"),
    [
      { title: t("Tie"), header: true, cell: (tie) => el("a", { href: `/ties/${encodeURIComponent(tie.id)}` }, tie.id) },
      { title: t("To"), cell: (tie) => (tie.from_area === id ? tie.to_area : tie.from_area) },
      { title: t("Export"), numeric: true, cell: (tie) => exported(exchange.exportOver(tie, id)) },
      { title: t("Agreed"), numeric: true, cell: (tie) => megawatts(exchange.exportOver(tie, id).scheduled) },
      { title: t("Deviation"), numeric: true, cell: (tie) => megawatts(difference(exchange.exportOver(tie, id))) },
    ],
    (tie) => tie.id,
  );
  const busbars = new Table(
    t("Busbars"),
    [
      { title: t("Busbar"), header: true, cell: (node) => `${node.id} ${node.name}` },
      { title: t("Injection"), numeric: true, cell: (node) => value(live.reading(node.injection), "MW") },
      { title: t("Voltage"), numeric: true, cell: (node) => value(live.reading(node.voltage), "kV") },
      { title: t("Frequency"), numeric: true, cell: (node) => value(live.reading(node.frequency), "Hz") },
    ],
    (node) => node.id,
  );
  const fleet = new Table(
    t("Plants"),
    [
      { title: t("Plant"), header: true, cell: (device) => el("a", { href: `/plants/${encodeURIComponent(device.id)}` }, device.title || device.id) },
      { title: t("Busbar"), cell: (device) => device.node },
      { title: t("Power"), numeric: true, cell: (device) => value(live.reading(point.get(`${device.id}/W`) ?? null), "MW") },
      { title: t("Rated"), numeric: true, cell: (device) => (device.rated_mw === null ? "–" : `${number(device.rated_mw, 0)} MW`) },
      { title: t("Part"), cell: (device) => part(live.reading(point.get(`${device.id}/W`) ?? null), device.rated_mw) },
    ],
    (device) => device.id,
  );
  const frequency = nodes.find((node) => node.frequency !== null)?.frequency;
  const path = site.points.find((each) => each.index === frequency)?.path;
  const chartRoot = el("div", { class: "chart", role: "img", "aria-label": t("Frequency, last hour") });
  const problem = problemLine();
  const alarmPlace = el("div", { class: "pad" });
  const settlement = el("div", { class: "pad" });
  main.append(
    heading(about.name, [about.operator, about.sync_area].filter(Boolean).join(", "), { base: "/areas", items: site.areas.map((each) => [each.id, each.name]), chosen: id, label: t("Area"), router: app.router }),
    figures.node,
    el(
      "div",
      { class: "columns" },
      panel(t("Ties"), [ties.node]),
      panel(t("Alarms"), [alarmPlace]),
      panel(t("Plants"), [fleet.node]),
      panel(t("Busbars"), [busbars.node]),
      path ? panel(t("Frequency, last hour"), [problem, chartRoot]) : null,
      panel(t("Settlement, open intervals"), [settlement]),
    ),
  );
  const assets = new Set([id, ...names, ...exchange.tiesOf(id).map((tie) => tie.id), ...plants.map((device) => device.id)]);
  const showAlarms = () => alarmPlace.replaceChildren(alarmLinks(app.store.alarms.filter((alarm) => alarm.area === id || assets.has(alarm.asset))));
  app.store.addEventListener("change", showAlarms, { signal });
  showAlarms();
  follow(app, signal, () => {
    exchange.refresh();
    const hertz = exchange.frequency(id);
    figures.set("frequency", value(hertz, "Hz"), { abnormal: usable(hertz) && exchange.exceeds(about.sync_area, hertz.value - 50) });
    const net = exchange.position(id);
    figures.set("net", net.measured === null ? t("not known") : `${signed(net.measured)} MW`);
    figures.set("schedule", megawatts(net.scheduled));
    const off = net.measured === null || net.scheduled === null ? null : net.measured - net.scheduled;
    figures.set("deviation", megawatts(off), { abnormal: exchange.exceeds(id, off) });
    figures.set("time", localHour(live, about), { note: `UTC${about.utc_offset_h >= 0 ? "+" : "−"}${Math.abs(about.utc_offset_h)}` });
    ties.show(exchange.tiesOf(id), t("No ties"));
    busbars.show(nodes);
    fleet.show(plants, t("No plants"));
  });
  running(app, [id], settlement, signal);
  if (!path) return undefined;
  const chart = new Chart(chartRoot, { signal });
  repeat(
    signal,
    10_000,
    async () => {
      const end = Math.round(live.now());
      const data = await request(`series?point=${encodeURIComponent(path)}&start=${end - 3_600_000}&end=${end}&intervals=360`, { background: true });
      if (!signal.aborted) chart.show({ series: [data], start: end - 3_600_000, end });
    },
    problem,
  );
  return undefined;
}

function difference({ measured, scheduled }) {
  return measured === null || scheduled === null ? null : measured - scheduled;
}

function megawatts(amount) {
  return amount === null ? "–" : `${signed(amount)} MW`;
}

// The measured export with the mark of its reading's quality.
function exported({ measured, reading }) {
  return measured === null ? value(reading, "MW") : `${signed(measured)} MW`;
}

function part(reading, rated) {
  if (!usable(reading) || !rated) return "–";
  const share = reading.value / rated;
  return el("span", { class: "with-bar" }, bar(share), ` ${number(share * 100, 0)} %`);
}
