// What several pages are made of: panels, pickers, key figures, alarms about something.

import { el, setText, time } from "/static/dom.js";
import { t } from "/static/i18n.js";
import { badge } from "/static/priority.js";
import { stateText } from "/static/alarms.js";

export function panel(title, content, { note = "", wide = false, id = null } = {}) {
  return el(
    "section",
    { class: `panel${wide ? " wide" : ""}`, id },
    el("header", { class: "panel-head" }, el("h2", {}, title), note ? el("p", { class: "note" }, note) : null),
    ...content,
  );
}

// The head of a page: what it is about, and the way to its siblings.
export function heading(title, note, { base = "", items = [], chosen = "", label = "" , router = null } = {}) {
  const picker =
    items.length > 1
      ? el(
          "label",
          { class: "picker" },
          `${label} `,
          el(
            "select",
            { onchange: (event) => router.go(`${base}/${encodeURIComponent(event.target.value)}`) },
            ...items.map(([id, text]) => el("option", { value: id, selected: id === chosen }, text)),
          ),
        )
      : null;
  return el("header", { class: "page-head" }, el("h2", { class: "page-title" }, title), el("p", { class: "note" }, note), picker);
}

// Key figures side by side; set(name, node or text, abnormal) changes one.
export class Figures {
  constructor(names) {
    this.parts = new Map();
    this.node = el(
      "dl",
      { class: "figures" },
      ...names.map(([key, text]) => {
        const content = el("dd");
        const note = el("dd", { class: "note" });
        const node = el("div", {}, el("dt", {}, text), content, note);
        this.parts.set(key, { node, content, note });
        return node;
      }),
    );
  }

  set(key, content, { abnormal = false, note = "" } = {}) {
    const part = this.parts.get(key);
    part.node.classList.toggle("abnormal", abnormal);
    const fresh = typeof content === "string" ? document.createTextNode(content) : content;
    if (!(part.content.childNodes.length === 1 && part.content.firstChild.isEqualNode(fresh))) part.content.replaceChildren(fresh);
    setText(part.note, note);
  }
}

// Alarms about some assets, each a link to the desk.
export function alarmLinks(alarms) {
  if (alarms.length === 0) return el("p", { class: "calm" }, t("No alarms"));
  return el(
    "ul",
    { class: "alarm-links" },
    ...alarms.map((alarm) =>
      el(
        "li",
        {},
        badge(alarm.priority, alarm.state),
        el("a", { href: `/alarms?alarm=${encodeURIComponent(alarm.id)}` }, alarm.title),
        el("span", { class: "note" }, `${stateText(alarm)} · ${t("since")} `, time(alarm.raised_at)),
      ),
    ),
  );
}

// A panel of alarms that follows the store.
export function alarmPanel(app, assets, signal) {
  const place = el("div", { class: "pad" });
  const show = () => place.replaceChildren(alarmLinks(app.store.of(assets)));
  app.store.addEventListener("change", show, { signal });
  show();
  return panel(t("Alarms"), [place]);
}

// Runs now and whenever new values come, at most twice a second; and every five seconds in any case.
export function follow(app, signal, run) {
  let due = null;
  const soon = () => {
    due ??= setTimeout(() => {
      due = null;
      if (!signal.aborted) run();
    }, 400);
  };
  app.live.addEventListener("values", soon, { signal });
  const timer = setInterval(run, 5000);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    clearTimeout(due);
  });
  run();
}

// Asks again and again while a page is shown; complains in place of what it cannot show.
export function repeat(signal, everyMs, ask, problem) {
  let timer = null;
  const turn = async () => {
    clearTimeout(timer);
    try {
      await ask();
      problem.hidden = true;
    } catch (error) {
      problem.hidden = false;
      setText(problem, t("This could not be read ({reason}); what is shown is out of date.", { reason: error.message }));
    }
    if (!signal.aborted) timer = setTimeout(turn, everyMs);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
  return turn;
}

export function problemLine() {
  return el("p", { class: "problem", role: "alert", hidden: true });
}

export function trendLink(paths, text = t("Trend"), last = 3600) {
  const query = paths.map((path) => `point=${encodeURIComponent(path)}`).join("&");
  return el("a", { href: `/trends?${query}&last=${last}` }, text);
}

export function missing(main, text, base) {
  main.append(el("p", { class: "problem" }, text, " ", el("a", { href: base }, t("Show the first one"))));
}

// A part of a whole as a bar; the number stands beside it.
export function bar(part, { abnormal = false } = {}) {
  const width = Math.max(0, Math.min(1, part)) * 60;
  const svgNs = "http://www.w3.org/2000/svg";
  const node = document.createElementNS(svgNs, "svg");
  for (const [name, value] of Object.entries({ width: 62, height: 9, "aria-hidden": "true", class: `part-bar${abnormal ? " abnormal" : ""}` })) node.setAttribute(name, String(value));
  const rect = (w, cls) => {
    const shape = document.createElementNS(svgNs, "rect");
    for (const [name, value] of Object.entries({ x: 1, y: 1, width: w, height: 7, class: cls })) shape.setAttribute(name, String(value));
    return shape;
  };
  node.append(rect(60, "bar"), rect(width, "fill"));
  return node;
}
