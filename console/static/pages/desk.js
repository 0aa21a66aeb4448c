// The alarm desk: every alarm that people are told of, filtered as they like; what is held back; history; indicators.

import { AlarmList } from "/static/alarms.js";
import { request } from "/static/api.js";
import { el, setText } from "/static/dom.js";
import { number, seconds } from "/static/format.js";
import { t } from "/static/i18n.js";
import { Figures, heading, panel } from "/static/pages/parts.js";
import { Table } from "/static/table.js";
import { isOver, PRIORITIES } from "/static/priority.js";

const STATES = [
  ["", "all"],
  ["due", "to acknowledge"],
  ["active", "active"],
  ["over", "over"],
];

// What an address or the form asks for.
class Filter {
  constructor(query) {
    for (const name of ["priority", "area", "state", "text"]) this[name] = query.get(name) ?? "";
  }

  takes(alarm) {
    const states = { "": true, due: alarm.acknowledged_at === null, active: !isOver(alarm), over: isOver(alarm) };
    const words = `${alarm.title} ${alarm.asset} ${alarm.rule} ${alarm.key}`.toLowerCase();
    return (
      (this.priority === "" || alarm.priority === this.priority) &&
      (this.area === "" || alarm.area === this.area) &&
      (states[this.state] ?? true) &&
      words.includes(this.text.trim().toLowerCase())
    );
  }

  address() {
    const query = new URLSearchParams(Object.entries(this).filter(([, value]) => value !== ""));
    return query.size ? `/alarms?${query}` : "/alarms";
  }
}

const rank = (alarm) => (alarm.acknowledged_at === null && !isOver(alarm) ? 0 : isOver(alarm) ? 2 : 1);

// Most urgent first, within a priority the newest; what is over or acknowledged comes after what waits.
function sorted(alarms, by) {
  const urgency = (alarm) => PRIORITIES.indexOf(alarm.priority);
  const compare =
    by === "time"
      ? (a, b) => b.raised_at - a.raised_at
      : (a, b) => rank(a) - rank(b) || urgency(a) - urgency(b) || b.raised_at - a.raised_at;
  return [...alarms].sort(compare);
}

function choice(label, options, value, onChange) {
  const select = el("select", { onchange: () => onChange(select.value) }, ...options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", {}, `${label} `, select);
}

export function desk(app, main, _, query, signal) {
  main.className = "page desk";
  const filter = new Filter(query);
  let order = "priority";
  const list = el("ol", { id: "alarm-list", class: "alarm-list" });
  const text = el("input", { type: "search", value: filter.text, placeholder: t("asset, rule or word"), "aria-label": t("Search") });
  const filters = el(
    "form",
    { class: "filters", onsubmit: (event) => event.preventDefault() },
    choice(t("Priority"), [["", t("all")], ...PRIORITIES.map((each) => [each, t(each)])], filter.priority, (value) => set("priority", value)),
    choice(t("Area"), [["", t("all")], ...app.site.areas.map((area) => [area.id, area.name])], filter.area, (value) => set("area", value)),
    choice(t("State"), STATES.map(([key, name]) => [key, t(name)]), filter.state, (value) => set("state", value)),
    choice(t("Sorted by"), [["priority", t("priority")], ["time", t("time")]], order, (value) => {
      order = value;
      alarms.show();
    }),
    text,
  );
  const none = el("p", { id: "alarm-none", class: "calm" });
  const alarmPanel = el(
    "section",
    { class: "panel desk-list" },
    el("header", { class: "panel-head" }, el("h2", { id: "alarms" }, t("Alarms")), el("p", { id: "alarm-count", class: "note" })),
    filters,
    el("p", { id: "alarm-stale", class: "problem stale", hidden: true }),
    el("p", { id: "alarm-problem", class: "problem", role: "alert", hidden: true }),
    list,
    none,
  );
  const indeterminate = el("section", { id: "indeterminate", hidden: true }, el("h3", { id: "indeterminate-title" }, t("Cannot be judged now")), el("ul", { id: "indeterminate-list", class: "indeterminate-list" }));
  const held = el("details", { id: "held", class: "held", open: true, hidden: true }, el("summary", { id: "held-title" }), el("ul", { id: "held-list", class: "held-list" }));
  const history = el("details", { id: "history", class: "history" }, el("summary", {}, t("History")), el("ol", { id: "history-list", class: "history-list" }));
  const figures = new Figures([
    ["last_10_min", t("Last 10 min")],
    ["last_hour", t("Last hour")],
    ["last_day", t("Last day")],
    ["peak", t("Most in 10 min")],
    ["flood", t("Time in flood")],
    ["standing", t("Standing")],
    ["stale", t("Longer than a day")],
    ["acknowledged", t("Acknowledged after")],
    ["chattering", t("Chattering")],
    ["fleeting", t("Fleeting")],
  ]);
  const talkers = new Table(
    t("Most frequent conditions of the last day"),
    [
      { title: t("Condition"), header: true, cell: (row) => row.key },
      { title: t("Alarms"), numeric: true, cell: (row) => String(row.count) },
      { title: t("Share"), numeric: true, cell: (row) => `${number(row.share_pct, 1)} %` },
    ],
    (row) => row.key,
  );
  const side = el(
    "div",
    { class: "desk-side" },
    panel(t("Indicators"), [figures.node, talkers.node], { note: t("ISA-18.2, last day") }),
    el("section", { class: "panel pad-panel" }, indeterminate, held, history),
  );
  main.append(heading(t("Alarm desk"), t("Up and down move between alarms, Enter opens, A acknowledges.")), el("div", { class: "columns desk-columns" }, alarmPanel, side));

  const alarms = new AlarmList(app, (all) => sorted(all.filter((alarm) => filter.takes(alarm)), order));

  function set(name, value) {
    filter[name] = value;
    app.router.note(filter.address());
    show();
  }

  let wanted = query.get("alarm");
  function show() {
    alarms.show();
    const hidden = app.store.alarms.length - alarms.rows.size;
    setText(none, hidden > 0 ? t("{count} alarms do not match the filter", { count: hidden }) : t("No alarms"));
    none.hidden = alarms.rows.size > 0 && hidden === 0;
    const row = alarms.rows.get(wanted);
    if (row) {
      alarms.open(row);
      row.toggle.focus();
      wanted = null;
    }
  }

  async function indicators() {
    try {
      const found = await request("alarms/indicators", { background: true });
      figures.set("last_10_min", String(found.last_10_min), { abnormal: found.in_flood, note: found.in_flood ? t("flood") : "" });
      figures.set("last_hour", String(found.last_hour), { abnormal: found.last_hour > 12 });
      figures.set("last_day", String(found.last_day));
      figures.set("peak", String(found.peak_10_min), { abnormal: found.peak_10_min > 10 });
      figures.set("flood", `${number(found.flood_pct, 1)} %`, { abnormal: found.flood_pct > 1 });
      figures.set("standing", String(found.standing));
      figures.set("stale", String(found.stale), { abnormal: found.stale > 0 });
      figures.set("acknowledged", seconds(found.acknowledge_median_s), { note: found.acknowledge_p90_s === null ? "" : t("90 % within {time}", { time: seconds(found.acknowledge_p90_s) }) });
      figures.set("chattering", String(found.chattering), { abnormal: found.chattering > 0 });
      figures.set("fleeting", String(found.fleeting));
      talkers.show(found.top, t("No alarms in the last day"));
    } catch (error) {
      alarms.problem(t("The indicators could not be read ({reason}).", { reason: error.message }));
    }
  }

  text.addEventListener("input", () => set("text", text.value));
  app.store.addEventListener("change", () => { show(); indicators(); }, { signal });
  app.store.addEventListener("problem", () => alarms.problem(app.store.error), { signal });
  app.live.addEventListener("indeterminate", (event) => alarms.showIndeterminate(event.detail), { signal });
  addEventListener("keydown", (event) => keys(event, alarms), { signal });
  const timers = [setInterval(() => alarms.tick(), 5000), setInterval(indicators, 30_000)];
  signal.addEventListener("abort", () => timers.forEach(clearInterval));
  alarms.showIndeterminate(app.last.indeterminate ?? []);
  show();
  indicators();
}

// Moves between alarms without a mouse; not while somebody writes.
function keys(event, alarms) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches?.("input, select, textarea")) return;
  const rows = [...alarms.list.children].map((node) => [...alarms.rows.values()].find((row) => row.node === node));
  const at = rows.findIndex((row) => row.node.contains(document.activeElement));
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const next = rows[Math.max(0, Math.min(rows.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)))];
    if (!next) return;
    event.preventDefault();
    next.toggle.focus();
  } else if (event.key.toLowerCase() === "a" && at >= 0 && !rows[at].acknowledge.hidden) {
    event.preventDefault();
    rows[at].send();
  }
}
