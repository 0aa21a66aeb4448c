// One tie line: both ends with main and check meters, the agreed exchange, what is missing between the ends, what the
// state estimator makes of it, and the settlement interval with its projection.

import { request } from "/static/api.js";
import { Chart } from "/static/chart.js";
import { el } from "/static/dom.js";
import { number, signed, words } from "/static/format.js";
import { t } from "/static/i18n.js";
import { alarmPanel, Figures, follow, heading, missing, panel, problemLine, repeat, trendLink } from "/static/pages/parts.js";
import { running } from "/static/pages/settled.js";
import { Poll, usable, value } from "/static/readings.js";
import { Table } from "/static/table.js";

// What is told of each end: name of the point, text, unit.
const SHOWN = [
  ["TotW", "Active power, + leaves the busbar", "MW"],
  ["PPV", "Voltage", "kV"],
  ["Hz", "Frequency", "Hz"],
  ["A", "Current", "A"],
];

export function tie(app, main, parts, _, signal) {
  main.className = "page";
  const { site, exchange, live } = app;
  const id = parts.id ?? exchange.ties[0]?.id;
  const about = site.branches.find((branch) => branch.id === id);
  if (!about) return missing(main, t("There is no line {name}.", { name: id ?? "" }), "/ties");
  const index = new Map(site.points.map((point) => [point.path, point]));
  const meters = about.ends.map((end) => ({
    node: end.node,
    main: site.devices.find((device) => device.branch === id && device.node === end.node && device.role === "main"),
    check: site.devices.find((device) => device.branch === id && device.node === end.node && device.role === "check"),
  }));
  const devices = meters.flatMap((end) => [end.main, end.check]).filter(Boolean);
  let polled = new Map();
  const reading = (device, name) => {
    const point = device && index.get(`${device.id}/${name}`);
    return point ? (live.reading(point.index) ?? polled.get(point.index)) : undefined;
  };
  const figures = new Figures([
    ["flow", t("At {node}", { node: about.delivery_node || about.ends[0].node })],
    ["agreed", t("Agreed")],
    ["deviation", t("Deviation")],
    ["loading", t("Loading")],
    ["residual", t("Missing between the ends")],
  ]);
  const columns = meters.flatMap((end) => [
    { title: `${end.node} ${t("main")}`, numeric: true, cell: (row) => (end.main ? value(reading(end.main, row.name), row.unit) : "–") },
    { title: `${end.node} ${t("check")}`, numeric: true, cell: (row) => (end.check ? value(reading(end.check, row.name), row.unit) : "–") },
    { title: t("main − check"), numeric: true, cell: (row) => between(reading(end.main, row.name), reading(end.check, row.name), row.unit) },
  ]);
  const ends = new Table(t("Both ends"), [{ title: "", header: true, cell: (row) => row.text }, ...columns], (row) => row.name);
  const explanation = el("dl", { class: "facts pad" });
  const chartRoot = el("div", { class: "chart tall", role: "img", "aria-label": t("Power and schedule, last two hours") });
  const problem = problemLine();
  const estimateProblem = problemLine();
  const settlement = el("div", { class: "pad" });
  const delivery = exchange.deliveryEnd(about) ?? about.ends[0];
  const path = site.points.find((point) => point.index === delivery.power)?.path;
  const nodeName = (node) => site.nodes.find((each) => each.id === node)?.name ?? node;
  main.append(
    heading(
      `${about.id}: ${nodeName(about.ends[0].node)} – ${nodeName(about.ends[1].node)}`,
      [
        about.kind === "hvdc" ? "HVDC" : t("{count} circuits", { count: about.circuits }),
        `${number(about.km, 0)} km`,
        t("limit {value} MW", { value: number(about.limit_mw, 0) }),
        about.ntc_mw ? t("NTC {value} MW", { value: number(about.ntc_mw, 0) }) : "",
        about.tie ? `${about.from_area} – ${about.to_area}` : "",
      ]
        .filter(Boolean)
        .join(", "),
      {
        base: "/ties",
        items: [...exchange.ties, ...site.branches.filter((branch) => !branch.tie)].map((branch) => [branch.id, branch.tie ? branch.id : `${branch.id} (${t("line")})`]),
        chosen: id,
        label: t("Line"),
        router: app.router,
      },
    ),
    figures.node,
    el(
      "div",
      { class: "columns" },
      panel(t("Both ends"), [ends.node], { wide: true }),
      panel(t("Power and schedule, last two hours"), [problem, chartRoot, path ? el("p", { class: "pad" }, trendLink(devices.map((device) => `${device.id}/TotW`).filter((each) => index.has(each)), t("Open in trends"), 7200)) : null], { wide: true }),
      panel(t("What the state estimator says"), [estimateProblem, explanation]),
      alarmPanel(app, new Set([id, ...devices.map((device) => device.id)]), signal),
      about.tie ? panel(t("Settlement"), [settlement], { wide: true }) : null,
    ),
  );

  const draw = () => {
    exchange.refresh();
    const power = live.reading(delivery.power);
    figures.set("flow", value(power, "MW"));
    const agreed = about.tie ? exchange.scheduled(about) : null;
    figures.set("agreed", agreed === null ? "–" : `${signed(agreed)} MW`);
    const off = agreed === null || !usable(power) ? null : power.value - agreed;
    figures.set("deviation", off === null ? "–" : `${signed(off)} MW`, { abnormal: exchange.exceeds(id, off) });
    figures.set("loading", usable(power) ? `${number((Math.abs(power.value) / about.limit_mw) * 100, 0)} %` : "–", { abnormal: usable(power) && Math.abs(power.value) > about.limit_mw });
    const [first, second] = meters.map((end) => reading(end.main, "TotW"));
    const lost = usable(first) && usable(second) ? first.value + second.value : null;
    figures.set("residual", lost === null ? t("not known") : `${signed(lost)} MW`, { note: lost === null ? "" : t("losses included"), abnormal: app.store.of(id).some((alarm) => alarm.rule === "R6" && alarm.cleared_at === null) });
    ends.show(SHOWN.filter(([name]) => devices.some((device) => index.has(`${device.id}/${name}`))).map(([name, text, unit]) => ({ name, text: t(text), unit })), t("No meters"));
  };
  new Poll(app, devices.map((device) => device.id), signal, (readings) => {
    polled = readings;
    draw();
  });
  follow(app, signal, draw);
  repeat(
    signal,
    10_000,
    async () => {
      const told = Object.entries(await request(`explanation?asset=${encodeURIComponent(id)}`, { background: true }));
      explanation.replaceChildren(
        ...(told.length === 0
          ? [el("dt", { class: "prose" }, t("No state estimate is at hand."))]
          : told.flatMap(([name, text]) => [el("dt", { class: "prose" }, t(name)), el("dd", { class: "prose" }, typeof text === "number" ? number(text, 2) : text)])),
      );
    },
    estimateProblem,
  );
  if (about.tie) running(app, [id], settlement, signal, { closed: true });
  if (!path) return undefined;
  const chart = new Chart(chartRoot, { signal });
  repeat(
    signal,
    10_000,
    async () => {
      const end = Math.round(live.now());
      const start = end - 7_200_000;
      const query = `start=${start}&end=${end}`;
      const [data, agreed, history] = await Promise.all([
        request(`series?point=${encodeURIComponent(path)}&${query}&intervals=600`, { background: true }),
        request(`agreed?${query}`, { background: true }),
        request("alarms/history?limit=200", { background: true }),
      ]);
      if (signal.aborted) return;
      const line = agreed.schedules[id];
      chart.show({
        series: [data],
        start,
        end,
        schedules: line ? [{ title: t("agreed [MW]"), line, unit: "MW" }] : [],
        band: agreed.tolerances[id] ?? 0,
        alarms: history.filter((alarm) => alarm.asset === id && alarm.raised_at >= start),
      });
    },
    problem,
  );
  return undefined;
}

function between(one, other, unit) {
  if (!usable(one) || !usable(other)) return "–";
  return `${signed(one.value - other.value, unit === "Hz" ? 3 : 2)} ${words(unit)}`;
}
