// Trends of several points over any time: zoomed by dragging, moved by buttons and keys, kept in the address, exported.

import { request } from "/static/api.js";
import { Chart } from "/static/chart.js";
import { el, setText, time } from "/static/dom.js";
import { localDateTime, utcDateTime } from "/static/format.js";
import { t } from "/static/i18n.js";
import { heading, panel, problemLine } from "/static/pages/parts.js";

const MOST = 8;
const WINDOWS = [
  [300, "5 min"],
  [3600, "1 h"],
  [21_600, "6 h"],
  [86_400, "1 d"],
  [604_800, "7 d"],
  [2_592_000, "30 d"],
];
const LEAST_S = 10;
const LONGEST_S = 400 * 86_400;

// What an address asks for: points, and either the last so many seconds or a fixed time.
class View {
  constructor(site, query) {
    const known = new Map(site.points.map((point) => [point.path, point]));
    this.unknown = query.getAll("point").filter((path) => !known.has(path));
    this.points = [...new Set(query.getAll("point"))].filter((path) => known.has(path)).slice(0, MOST);
    const number = (name) => (/^\d{1,15}$/.test(query.get(name) ?? "") ? Number(query.get(name)) : null);
    this.start = number("start");
    this.end = number("end");
    this.last = Math.min(LONGEST_S, Math.max(LEAST_S, number("last") ?? 3600));
    if (this.start === null || this.end === null || this.end <= this.start) this.start = this.end = null;
  }

  span(now) {
    return this.start === null ? [Math.round(now) - this.last * 1000, Math.round(now)] : [this.start, this.end];
  }

  live() {
    return this.start === null;
  }

  address() {
    const query = new URLSearchParams(this.points.map((path) => ["point", path]));
    if (this.live()) query.set("last", String(this.last));
    else {
      query.set("start", String(this.start));
      query.set("end", String(this.end));
    }
    return `/trends?${query}`;
  }
}

// For an input of type datetime-local, in the local time of the browser.
const field = (ms) => {
  const at = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return at.toISOString().slice(0, 19);
};

function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const quoted = (text) => `"${String(text).replaceAll('"', '""')}"`;

export function trends(app, main, _, query, signal) {
  main.className = "page trends";
  const { site, live, exchange } = app;
  const view = new View(site, query);
  if (query.getAll("point").length === 0) {
    const first = site.branches.find((branch) => branch.tie) ?? site.branches[0];
    view.points = first ? first.ends.map((end) => site.points.find((point) => point.index === end.power)?.path).filter(Boolean) : [];
  }
  const about = new Map(site.points.map((point) => [point.path, point]));
  const problem = problemLine();
  const chips = el("ul", { class: "chips" });
  const add = el("input", { list: "all-points", autocomplete: "off", spellcheck: "false", placeholder: t("add a point"), "aria-label": t("Add a point") });
  const list = el("datalist", { id: "all-points" }, ...site.points.map((point) => el("option", { value: point.path }, `${point.title} [${point.unit}]`)));
  const from = el("input", { type: "datetime-local", step: 1, "aria-label": t("From") });
  const to = el("input", { type: "datetime-local", step: 1, "aria-label": t("To") });
  const chartRoot = el("div", { class: "chart huge", tabindex: 0, role: "application", "aria-label": t("Trends; left and right move, plus and minus zoom, End shows the present") });
  const note = el("p", { class: "note" });
  const events = el("ul", { class: "alarm-links" });
  const button = (text, label, run) => el("button", { type: "button", onclick: run, "aria-label": label, title: label }, text);
  const tools = el(
    "div",
    { class: "tools" },
    el("span", { class: "group" }, ...WINDOWS.map(([seconds, text]) => button(text, t("the last {time}", { time: text }), () => change({ last: seconds, start: null, end: null })))),
    el("span", { class: "group" }, button("◀", t("Earlier"), () => move(-0.5)), button("▶", t("Later"), () => move(0.5)), button("+", t("Zoom in"), () => zoom(0.5)), button("−", t("Zoom out"), () => zoom(2)), button(t("Now"), t("Show the present"), () => present())),
    el("span", { class: "group" }, from, to),
    el("span", { class: "group" }, button("CSV", t("Save as CSV"), () => csv()), button("PNG", t("Save as a picture"), () => png()), button(t("Copy address"), t("Copy the address of this view"), () => copy())),
  );
  main.append(
    heading(t("Trends"), t("Drag over a part of the time to zoom into it.")),
    panel(t("Points"), [el("div", { class: "pad" }, chips, el("label", {}, add), list), tools, problem, chartRoot, el("div", { class: "pad" }, note)], { wide: true }),
    panel(t("Alarms in this time"), [el("div", { class: "pad" }, events)], { wide: true }),
  );
  const chart = new Chart(chartRoot, { signal, onRange: (start, end) => change({ start, end: Math.max(end, start + LEAST_S * 1000) }) });
  let data = [];
  let turn = 0;
  let timer = null;

  function change(fields) {
    Object.assign(view, fields);
    app.router.note(view.address());
    refresh();
  }

  function move(part) {
    const [start, end] = view.span(live.now());
    const by = Math.round((end - start) * part);
    if (end + by >= live.now()) return present();
    return change({ start: start + by, end: end + by });
  }

  function zoom(factor) {
    const [start, end] = view.span(live.now());
    const length = Math.min(LONGEST_S * 1000, Math.max(LEAST_S * 1000, Math.round((end - start) * factor)));
    if (view.live()) return change({ last: Math.round(length / 1000) });
    const middle = (start + end) / 2;
    return change({ start: Math.round(middle - length / 2), end: Math.round(middle - length / 2) + length });
  }

  function present() {
    const [start, end] = view.span(live.now());
    change({ last: Math.min(LONGEST_S, Math.max(LEAST_S, Math.round((end - start) / 1000))), start: null, end: null });
  }

  function showChips() {
    chips.replaceChildren(
      ...view.points.map((path, i) =>
        el(
          "li",
          { class: `chip series-${i % 6}` },
          el("span", { class: "swatch", "aria-hidden": "true" }),
          el("span", { title: `${about.get(path).title} [${about.get(path).unit}]` }, path),
          el("button", { type: "button", class: "quiet", "aria-label": t("Remove {name}", { name: path }), onclick: () => change({ points: view.points.filter((each) => each !== path) }) }, "×"),
        ),
      ),
    );
    add.disabled = view.points.length >= MOST;
  }

  async function refresh() {
    clearTimeout(timer);
    const mine = ++turn;
    showChips();
    const [start, end] = view.span(live.now());
    if (document.activeElement !== from) from.value = field(start);
    if (document.activeElement !== to) to.value = field(end);
    const span = `start=${start}&end=${end}`;
    try {
      const [series, agreed, history] = await Promise.all([
        Promise.all(view.points.map((path) => request(`series?point=${encodeURIComponent(path)}&${span}&intervals=600`, { background: true }))),
        end - start <= 40 * 86_400_000 ? request(`agreed?${span}`, { background: true }) : null,
        request("alarms/history?limit=1000", { background: true }),
      ]);
      if (mine !== turn || signal.aborted) return;
      data = series;
      show(series, start, end, agreed, history);
      problem.hidden = view.unknown.length === 0;
      setText(problem, view.unknown.length ? t("Not known here: {names}", { names: view.unknown.join(", ") }) : "");
    } catch (error) {
      if (mine !== turn || signal.aborted) return;
      problem.hidden = false;
      setText(problem, t("The trend could not be read ({reason}); what is drawn is out of date.", { reason: error.message }));
    }
    if (view.live()) timer = setTimeout(refresh, Math.max(2000, (end - start) / 200));
  }

  function show(series, start, end, agreed, history) {
    const devices = new Map(site.devices.map((device) => [device.id, device]));
    const assets = new Set(
      view.points.flatMap((path) => {
        const device = devices.get(about.get(path).device);
        return [device?.id, device?.branch, device?.node, device?.link].filter(Boolean);
      }),
    );
    // the schedule of a tie belongs to the power at its delivery node
    const scheduled = exchange.ties.filter((tie) => view.points.some((path) => about.get(path).index === exchange.deliveryEnd(tie)?.power));
    const schedules = scheduled.filter((tie) => agreed?.schedules[tie.id]).map((tie) => ({ title: t("{tie} agreed [MW]", { tie: tie.id }), line: agreed.schedules[tie.id], unit: "MW" }));
    const alarms = history.filter((alarm) => assets.has(alarm.asset) && alarm.raised_at >= start && alarm.raised_at < end);
    chart.show({ series, start, end, schedules, alarms });
    const readings = series.reduce((all, each) => all + each.count.reduce((sum, n) => sum + n, 0), 0);
    const step = series[0]?.step ?? 0;
    setText(note, series.length === 0 ? t("Choose a point.") : t("{start} to {end}; {count} readings, {step} s to an interval. Hatched: no usable reading. A bar at the foot: some were not good.", { start: localDateTime(start), end: localDateTime(end), count: readings.toLocaleString("en"), step: step / 1000 }));
    note.title = `${utcDateTime(start)} - ${utcDateTime(end)}`;
    events.replaceChildren(
      ...(alarms.length === 0
        ? [el("li", { class: "note" }, t("None of these points."))]
        : alarms.map((alarm) => el("li", {}, time(alarm.raised_at), " ", el("a", { href: `/alarms?alarm=${encodeURIComponent(alarm.id)}` }, alarm.title), el("span", { class: "note" }, ` ${t(alarm.priority)}`)))),
    );
  }

  function csv() {
    const rows = [["time_utc", "point", "unit", "low", "mean", "high", "usable_readings", "worst_quality"]];
    for (const each of data) {
      each.t.forEach((ms, i) => {
        rows.push([new Date(ms).toISOString(), quoted(each.path), quoted(each.unit), each.low[i] ?? "", each.mean[i] ?? "", each.high[i] ?? "", each.count[i], each.reasons[each.worst[i]] ?? (each.count[i] ? "good" : "gap")]);
      });
    }
    save(new Blob([`${rows.map((row) => row.join(",")).join("\r\n")}\r\n`], { type: "text/csv" }), "trend.csv");
  }

  async function png() {
    if (chart.plot === null) return;
    const [start, end] = view.span(live.now());
    save(await chart.picture(`${site.name}, ${localDateTime(start, 0)} – ${localDateTime(end, 0)}`), "trend.png");
  }

  async function copy() {
    const [start, end] = view.span(live.now());
    const fixed = Object.assign(Object.create(View.prototype), view, { start, end });
    const address = location.origin + fixed.address();
    try {
      await navigator.clipboard.writeText(address);
      setText(note, t("The address is copied; it shows exactly this time."));
    } catch {
      app.router.note(fixed.address());
      setText(note, t("Copy it from the address bar; it shows exactly this time."));
    }
  }

  add.addEventListener("change", () => {
    const path = add.value.trim();
    add.value = "";
    if (!about.has(path)) {
      problem.hidden = false;
      setText(problem, t("No point is called {name}; choose one from the list.", { name: path }));
    } else if (!view.points.includes(path)) change({ points: [...view.points, path] });
  });
  for (const input of [from, to]) {
    input.addEventListener("change", () => {
      const [start, end] = [new Date(from.value).getTime(), new Date(to.value).getTime()];
      if (end > start && end - start <= LONGEST_S * 1000) change({ start, end });
      else {
        problem.hidden = false;
        setText(problem, t("Give a begin before the end, at most {days} days apart.", { days: 400 }));
      }
    });
  }
  chartRoot.addEventListener("keydown", (event) => {
    const run = { ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), "+": () => zoom(0.5), "-": () => zoom(2), End: present }[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  });
  signal.addEventListener("abort", () => clearTimeout(timer));
  refresh();
}
