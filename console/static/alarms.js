// The alarm list: what is wrong, how badly, since when, why, and what to do; and the acknowledgement.

import { request } from "/static/api.js";
import { el, setText, time } from "/static/dom.js";
import { age, localDateTime, number, seconds, utcDateTime, withUnit, words } from "/static/format.js";
import { t } from "/static/i18n.js";
import { badge, isOver } from "/static/priority.js";

export const STATES = {
  unacknowledged: "Unacknowledged",
  acknowledged: "Acknowledged",
  returned_unacknowledged: "Over, not acknowledged",
  latched_unacknowledged: "Latched, not acknowledged",
  latched_acknowledged: "Latched, to be reset",
  shelved: "Shelved",
  suppressed: "Suppressed",
  out_of_service: "Out of service",
  normal: "Normal",
};

export const DUE = new Set(["unacknowledged", "returned_unacknowledged", "latched_unacknowledged"]);

export function capital(text) {
  return text === "" ? "" : `${text[0].toUpperCase()}${text.slice(1)}`;
}

export function stateText(alarm) {
  return t(STATES[alarm.state] ?? alarm.state);
}

// How long an alarm can be shelved for, in minutes.
const TIMES = [
  [30, "30 min"],
  [60, "1 h"],
  [120, "2 h"],
  [240, "4 h"],
  [480, "8 h"],
];

// Text over the whole width, one paragraph each.
function prose(name, paragraphs) {
  if (!paragraphs.some(Boolean)) return [];
  return [
    el("dt", { class: "prose" }, name),
    el("dd", { class: "prose" }, ...paragraphs.map((text) => el("p", {}, text))),
  ];
}

// A response as its numbered steps: "1. Call. 2. Wait." is two.
function steps(response) {
  return response.split(/\s+(?=\d+\. )/);
}

function fact(name, ...content) {
  return [el("dt", {}, name), el("dd", {}, ...content)];
}

// One alarm in the list. It is kept while the alarm lives, so that an update takes neither focus nor a half-written
// comment away.
export class Row {
  // list: {app, open(row)}; what is done about the alarm goes through the store.
  constructor(list, alarm) {
    this.desk = list;
    this.store = list.app.store;
    this.may = list.app.may("alarms");
    this.open = false;
    this.icon = el("span", { class: "icon" });
    this.title = el("span", { class: "title" });
    this.meta = el("span", { class: "meta" });
    this.sinceTime = el("span", { class: "since" });
    this.toggle = el(
      "button",
      { type: "button", class: "row", "aria-expanded": "false", onclick: () => this.desk.open(this.open ? null : this) },
      this.icon,
      el("span", { class: "text" }, this.title, this.meta),
    );
    this.acknowledge = el("button", { type: "button", class: "acknowledge", onclick: () => this.send() }, t("Acknowledge"));
    this.comment = el("input", { type: "text", maxlength: 500, placeholder: t("optional") });
    this.commentLine = el("label", { class: "comment" }, t("Comment"), this.comment);
    this.reset = el("button", { type: "button", class: "reset", onclick: () => this.store.act(this.alarm, "reset", {}, t("{title} was not reset", { title: this.alarm.title })) }, t("Reset"));
    this.shelving = this.shelveForm();
    this.children = el("ul", { class: "children" });
    this.facts = el("dl", { class: "facts" });
    this.detail = el("div", { class: "detail", hidden: true }, this.commentLine, this.shelving, this.children, this.facts);
    this.node = el("li", {}, el("div", { class: "head" }, this.toggle, el("div", { class: "side" }, this.sinceTime, this.acknowledge, this.reset)), this.detail);
    this.update(alarm);
  }

  // Closed until somebody wants it: shelving is the exception.
  shelveForm() {
    const reason = el("input", { type: "text", maxlength: 500, required: true, "aria-label": t("Reason"), placeholder: t("reason") });
    const length = el(
      "select",
      { "aria-label": t("For how long") },
      ...TIMES.map(([minutes, text]) => el("option", { value: minutes, selected: minutes === 60 }, text)),
    );
    const form = el(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.store.act(this.alarm, "shelve", { reason: reason.value, minutes: Number(length.value) }, t("{title} was not shelved", { title: this.alarm.title }));
        },
      },
      reason,
      length,
      el("button", { type: "submit" }, t("Shelve")),
    );
    return el("details", { class: "shelving" }, el("summary", {}, t("Shelve")), form);
  }

  // What this alarm explains; part of the one event that it is.
  showChildren(children) {
    this.children.hidden = children.length === 0;
    this.children.replaceChildren(
      ...children.map((child) => el("li", {}, `${child.cascade ? `${child.cascade.order}. ` : ""}${child.rule} ${child.title}`, el("span", { class: "note" }, ` ${stateText(child).toLowerCase()}`))),
    );
    this.explains = children.length;
    this.showMeta();
  }

  showMeta() {
    const alarm = this.alarm;
    const parts = [
      capital(t(alarm.priority)),
      stateText(alarm),
      alarm.asset,
      t("{value}, limit {limit}", { value: withUnit(alarm.value, alarm.unit), limit: withUnit(alarm.limit, alarm.unit) }),
    ];
    if (this.explains) parts.push(t("explains {count} more", { count: this.explains }));
    if (alarm.cascade) {
      const { order, of, after_first_ms: after } = alarm.cascade;
      parts.push(order === 1 ? t("first of {of}", { of }) : t("number {order} of {of}, {time} after the first", { order, of, time: seconds(after / 1000) }));
    }
    if (alarm.parent) parts.push(t("part of {parent}", { parent: alarm.parent }));
    setText(this.meta, parts.join(" · "));
  }

  setOpen(open) {
    this.open = open;
    this.detail.hidden = !open;
    this.toggle.setAttribute("aria-expanded", String(open));
    if (open) this.node.scrollIntoView({ block: "nearest" });
  }

  async send() {
    this.acknowledge.disabled = true;
    await this.store.act(this.alarm, "acknowledge", { comment: this.comment.value }, t("{title} was not acknowledged", { title: this.alarm.title }));
    this.acknowledge.disabled = false;
  }

  update(alarm) {
    this.alarm = alarm;
    const due = DUE.has(alarm.state);
    this.node.className = `alarm ${alarm.priority} ${alarm.state}`;
    this.node.dataset.alarm = alarm.id;
    this.icon.replaceChildren(badge(alarm.priority, alarm.state));
    setText(this.title, alarm.title);
    this.showMeta();
    this.reset.hidden = !this.may || alarm.state !== "latched_acknowledged";
    this.reset.setAttribute("aria-label", t("Reset {title}", { title: alarm.title }));
    // urgent and latched ones cannot be shelved
    this.shelving.hidden = !this.may || alarm.priority === "urgent" || alarm.state.startsWith("latched");
    this.acknowledge.hidden = !(due && this.may);
    this.acknowledge.setAttribute("aria-label", t("Acknowledge {title}", { title: alarm.title }));
    this.commentLine.hidden = !(due && this.may);
    this.facts.replaceChildren(
      ...prose(t("Cause"), [alarm.cause]),
      ...prose(t("Response"), steps(alarm.response)),
      ...prose(t("Consequence"), [alarm.consequence]),
      ...Object.entries(alarm.evidence).flatMap(([name, value]) =>
        fact(name, typeof value === "number" ? number(value, Math.abs(value) >= 1000 ? 0 : 2) : (value ?? t("not known"))),
      ),
      ...fact(t("Rule"), `${alarm.rule}, ${alarm.key}`),
      ...fact(t("Data quality"), words(alarm.quality)),
      ...fact(t("Raised"), time(alarm.raised_at)),
      ...(alarm.cleared_at ? fact(t("Cleared"), time(alarm.cleared_at)) : []),
      ...(alarm.acknowledged_at
        ? fact(t("Acknowledged"), time(alarm.acknowledged_at), ` ${t("by {who}", { who: alarm.acknowledged_by })}${alarm.comment ? `: ${alarm.comment}` : ""}`)
        : []),
      ...(alarm.occurrences > 1 ? fact(t("Occurrences"), String(alarm.occurrences)) : []),
    );
  }

  tick(now) {
    setText(this.sinceTime, `${age(now - this.alarm.raised_at)}`);
    this.sinceTime.title = t("since {time}", { time: `${localDateTime(this.alarm.raised_at)} (${utcDateTime(this.alarm.raised_at)})` });
  }
}

// Everything that nobody is told of: who holds it back, why and until when. Entries are kept, so that an update does not
// take the focus away from a button.
export class HeldList {
  constructor(app, list, onCount) {
    this.app = app;
    this.list = list;
    this.onCount = onCount;
    this.entries = new Map();
  }

  show() {
    const { alarms, held, orders } = this.app.store;
    const shown = new Set(alarms.map((alarm) => alarm.id));
    // what an alarm that is shown explains stands under that one
    const rest = held.filter((alarm) => !(alarm.state === "suppressed" && shown.has(alarm.parent)));
    const silent = orders.filter((order) => !held.some((alarm) => alarm.key === order.condition));
    const wanted = [
      ...rest.map((alarm) => ({ id: alarm.id, kind: alarm.state, text: alarm.title, who: alarm.held_by, until: alarm.held_until, reason: alarm.held_reason, alarm })),
      ...silent.map((order) => ({ id: `order ${order.condition}`, kind: order.kind, text: order.condition, who: order.who, until: order.until, reason: order.reason })),
    ];
    const ids = new Set(wanted.map((each) => each.id));
    for (const [id, entry] of this.entries) {
      if (ids.has(id)) continue;
      entry.node.remove();
      this.entries.delete(id);
    }
    wanted.forEach((each, place) => {
      let entry = this.entries.get(each.id);
      if (!entry) {
        entry = this.entry();
        this.entries.set(each.id, entry);
      }
      entry.update(each);
      const there = this.list.children[place];
      if (there !== entry.node) this.list.insertBefore(entry.node, there ?? null);
    });
    this.onCount(wanted.length);
  }

  entry() {
    const kind = el("strong");
    const text = el("span");
    const why = el("div", { class: "note" });
    let alarm = null;
    const unshelve = el(
      "button",
      { type: "button", class: "quiet", onclick: () => this.app.store.act(alarm, "unshelve", {}, t("{title} was not unshelved", { title: alarm.title })) },
      t("Unshelve"),
    );
    const node = el("li", {}, el("div", {}, kind, " ", text), why, unshelve);
    const update = (each) => {
      alarm = each.alarm ?? null;
      setText(kind, t(STATES[each.kind] ?? each.kind));
      setText(text, each.text);
      const until = each.until ? ` · ${t("until {time}", { time: localDateTime(each.until) })}` : "";
      setText(why, `${each.reason}${each.who ? ` · ${each.who}` : ""}${until}`);
      why.title = each.until ? utcDateTime(each.until) : "";
      unshelve.hidden = each.kind !== "shelved" || alarm === null || !this.app.may("alarms");
      if (alarm) unshelve.setAttribute("aria-label", t("Unshelve {title}", { title: alarm.title }));
    };
    return { node, update };
  }
}

export class AlarmList {
  // The overview's list; also the desk's, which chooses what it shows by a filter.
  constructor(app, choose = (alarms) => alarms) {
    this.app = app;
    this.choose = choose;
    this.rows = new Map();
    this.list = document.getElementById("alarm-list");
    this.asked = 0;
    this.held = new HeldList(app, document.getElementById("held-list"), (count) => {
      document.getElementById("held").hidden = count === 0;
      setText(document.getElementById("held-title"), t("Held back ({count})", { count }));
    });
    this.history = document.getElementById("history");
    this.history?.addEventListener("toggle", () => this.refreshHistory());
  }

  // The details of one alarm at a time; of none for null.
  open(chosen) {
    for (const row of this.rows.values()) {
      if (row !== chosen && row.open) row.setOpen(false);
    }
    chosen?.setOpen(true);
  }

  show() {
    const { store } = this.app;
    const alarms = this.choose(store.alarms);
    const shown = new Set(alarms.map((alarm) => alarm.id));
    for (const [id, row] of this.rows) {
      if (!shown.has(id)) {
        row.node.remove();
        this.rows.delete(id);
      }
    }
    alarms.forEach((alarm, place) => {
      let row = this.rows.get(alarm.id);
      if (row) row.update(alarm);
      else this.rows.set(alarm.id, (row = new Row(this, alarm)));
      const there = this.list.children[place];
      if (there !== row.node) this.list.insertBefore(row.node, there ?? null);
      row.showChildren([...store.alarms, ...store.held].filter((child) => child.parent === alarm.id));
    });
    document.getElementById("alarm-none").hidden = alarms.length > 0;
    this.count(alarms);
    this.held.show();
    this.refreshHistory();
    this.tick();
  }

  count(alarms) {
    const active = alarms.filter((alarm) => !isOver(alarm));
    const due = active.filter((alarm) => alarm.state === "unacknowledged").length;
    const latched = alarms.filter((alarm) => alarm.state === "latched_acknowledged").length;
    const over = alarms.length - active.length - latched;
    setText(
      document.getElementById("alarm-count"),
      [
        active.length > 0 ? t("{active} active, {due} to acknowledge", { active: active.length, due }) : "",
        over > 0 ? t("{over} over, to acknowledge", { over }) : "",
        latched > 0 ? t("{latched} over, to reset", { latched }) : "",
      ]
        .filter(Boolean)
        .join("; "),
    );
  }

  showIndeterminate(rules) {
    document.getElementById("indeterminate").hidden = rules.length === 0;
    document.getElementById("indeterminate-list").replaceChildren(
      ...rules.map((rule) =>
        el("li", {}, el("strong", {}, `${rule.rule} ${rule.asset}`), ` ${rule.reason} `, el("span", { class: "note" }, `${t("since")} `, time(rule.since))),
      ),
    );
  }

  async refreshHistory() {
    if (!this.history?.open) return;
    let alarms;
    try {
      alarms = await request("alarms/history?limit=50");
    } catch (error) {
      this.problem(t("The history could not be read ({reason}).", { reason: error.message }));
      return;
    }
    document.getElementById("history-list").replaceChildren(
      ...alarms.map((alarm) =>
        el(
          "li",
          {},
          badge(alarm.priority, alarm.state),
          el(
            "div",
            {},
            el("div", {}, alarm.title),
            el(
              "div",
              { class: "meta" },
              time(alarm.raised_at),
              alarm.cleared_at ? ` ${t("to")} ` : "",
              alarm.cleared_at ? time(alarm.cleared_at) : "",
              ` · ${stateText(alarm)}${alarm.acknowledged_by ? ` · ${alarm.acknowledged_by}` : ""}${alarm.comment ? `: ${alarm.comment}` : ""}`,
            ),
          ),
        ),
      ),
    );
  }

  tick() {
    const now = this.app.live.now();
    for (const row of this.rows.values()) row.tick(now);
  }

  problem(text) {
    const node = document.getElementById("alarm-problem");
    setText(node, text);
    node.hidden = text === "";
  }
}
