// One plant: its power against its rating, everything its controller tells, its units, its trend and alarms.

import { request } from "/static/api.js";
import { Chart } from "/static/chart.js";
import { el, time } from "/static/dom.js";
import { number } from "/static/format.js";
import { t } from "/static/i18n.js";
import { alarmPanel, bar, Figures, follow, heading, missing, panel, problemLine, repeat, trendLink } from "/static/pages/parts.js";
import { Poll, shown, usable, value } from "/static/readings.js";
import { Table } from "/static/table.js";

export function plant(app, main, parts, _, signal) {
  main.className = "page";
  const { site, live } = app;
  const plants = site.devices.filter((device) => device.role === "plant" && device.enabled);
  const id = parts.id ?? plants[0]?.id;
  const about = site.devices.find((device) => device.id === id);
  if (!about) return missing(main, t("There is no plant {name}.", { name: id ?? "" }), "/plants");
  const points = site.points.filter((point) => point.device === id);
  const units = site.devices.filter((device) => device.role === "unit" && device.node === about.node && device.enabled && belongs(device, about, plants));
  const powerOf = (device) => site.points.find((point) => point.device === device.id && (point.name === "W" || point.name === "TotW")) ?? site.points.find((point) => point.device === device.id && ["MW", "kW"].includes(point.unit));
  const power = powerOf(about);
  let polled = new Map();
  const reading = (point) => (point ? (live.reading(point.index) ?? polled.get(point.index)) : undefined);
  const figures = new Figures([
    ["power", t("Power")],
    ["rated", t("Rated")],
    ["part", t("Part of the rating")],
    ["units", t("Units with a good reading")],
  ]);
  const all = new Table(
    t("All points"),
    [
      { title: t("Point"), header: true, cell: (point) => el("span", { title: point.path }, point.title) },
      { title: t("Value"), numeric: true, cell: (point) => shown(reading(point), point) },
      { title: t("Measured at"), cell: (point) => (reading(point) ? time(reading(point).t) : "–") },
      { title: "", cell: (point) => trendLink([point.path]) },
    ],
    (point) => point.path,
  );
  const fleet = new Table(
    t("Units"),
    [
      { title: t("Unit"), header: true, cell: (device) => el("a", { href: `/plants/${encodeURIComponent(device.id)}` }, device.title || device.id) },
      { title: t("Power"), numeric: true, cell: (device) => value(reading(powerOf(device)), powerOf(device)?.unit ?? "MW", 2) },
      { title: t("Rated"), numeric: true, cell: (device) => (device.rated_mw === null ? "–" : `${number(device.rated_mw, 1)} MW`) },
      { title: t("Profile"), cell: (device) => device.profile },
    ],
    (device) => device.id,
  );
  const chartRoot = el("div", { class: "chart tall", role: "img", "aria-label": t("Power, last six hours") });
  const problem = problemLine();
  main.append(
    heading(about.title || about.id, [about.id, about.node, about.link, about.profile].filter(Boolean).join(", "), {
      base: "/plants",
      items: (about.role === "plant" ? plants : [...plants, about]).map((device) => [device.id, device.title || device.id]),
      chosen: id,
      label: t("Plant"),
      router: app.router,
    }),
    figures.node,
    el(
      "div",
      { class: "columns" },
      power ? panel(t("Power, last six hours"), [problem, chartRoot, el("p", { class: "pad" }, trendLink([power.path], t("Open in trends"), 21_600))], { wide: true }) : null,
      panel(t("All points"), [all.node]),
      alarmPanel(app, new Set([id, ...units.map((device) => device.id)]), signal),
      units.length ? panel(t("Units"), [fleet.node], { wide: true }) : null,
    ),
  );
  const draw = () => {
    const now = reading(power);
    figures.set("power", value(now, power?.unit ?? "MW"));
    figures.set("rated", about.rated_mw === null ? "–" : `${number(about.rated_mw, 0)} MW`);
    const share = usable(now) && about.rated_mw && power.unit === "MW" ? now.value / about.rated_mw : null;
    figures.set("part", share === null ? "–" : el("span", { class: "with-bar" }, bar(share), ` ${number(share * 100, 0)} %`));
    const good = units.filter((device) => usable(reading(powerOf(device)))).length;
    figures.set("units", units.length ? t("{good} of {all}", { good, all: units.length }) : "–", { abnormal: good < units.length });
    all.show(points, t("No points"));
    fleet.show(units);
  };
  new Poll(app, [id, ...units.map((device) => device.id)].slice(0, 60), signal, (readings) => {
    polled = readings;
    draw();
  });
  follow(app, signal, draw);
  if (!power) return undefined;
  const chart = new Chart(chartRoot, { signal });
  repeat(
    signal,
    15_000,
    async () => {
      const end = Math.round(live.now());
      const start = end - 21_600_000;
      const data = await request(`series?point=${encodeURIComponent(power.path)}&start=${start}&end=${end}&intervals=600`, { background: true });
      if (!signal.aborted) chart.show({ series: [data], start, end });
    },
    problem,
  );
  return undefined;
}

// Of several plants at a busbar a unit belongs to the one whose name it begins with; to the only one otherwise.
function belongs(unit, plant_, plants) {
  const there = plants.filter((device) => device.node === plant_.node);
  const named = there.filter((device) => unit.id.startsWith(device.id));
  return named.length > 0 ? named.includes(plant_) : there.length === 1 && plant_.role === "plant";
}
