// The alarm list: what is wrong, how badly, since when, why, and what to do; and the acknowledgement.

import { post, request } from "/static/api.js";
import { el, setText } from "/static/dom.js";
import { age, localDateTime, number, utcDateTime, withUnit, words } from "/static/format.js";
import { badge, isOver, PRIORITIES } from "/static/priority.js";

const STATES = {
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

const DUE = new Set(["unacknowledged", "returned_unacknowledged", "latched_unacknowledged"]);

// How long an alarm can be shelved for, in minutes.
const TIMES = [
  [30, "30 min"],
  [60, "1 h"],
  [120, "2 h"],
  [240, "4 h"],
  [480, "8 h"],
];

function time(ms) {
  return el("time", { title: utcDateTime(ms), datetime: new Date(ms).toISOString() }, localDateTime(ms));
}

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
class Row {
  constructor(desk, alarm) {
    this.desk = desk;
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
    this.acknowledge = el("button", { type: "button", class: "acknowledge", onclick: () => this.send() }, "Acknowledge");
    this.comment = el("input", { type: "text", maxlength: 500, placeholder: "optional" });
    this.commentLine = el("label", { class: "comment" }, "Comment", this.comment);
    this.reset = el("button", { type: "button", class: "reset", onclick: () => this.desk.act(this.alarm, "reset", {}, "reset") }, "Reset");
    this.shelving = this.shelveForm();
    this.children = el("ul", { class: "children" });
    this.facts = el("dl", { class: "facts" });
    this.detail = el("div", { class: "detail", hidden: true }, this.commentLine, this.shelving, this.children, this.facts);
    this.node = el("li", {}, el("div", { class: "head" }, this.toggle, el("div", { class: "side" }, this.sinceTime, this.acknowledge, this.reset)), this.detail);
    this.update(alarm);
  }

  // Closed until somebody wants it: shelving is the exception.
  shelveForm() {
    const reason = el("input", { type: "text", maxlength: 500, required: true, "aria-label": "Reason" , placeholder: "reason" });
    const time = el(
      "select",
      { "aria-label": "For how long" },
      ...TIMES.map(([minutes, text]) => el("option", { value: minutes, selected: minutes === 60 }, text)),
    );
    const form = el(
      "form",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.desk.act(this.alarm, "shelve", { reason: reason.value, minutes: Number(time.value) }, "shelved");
        },
      },
      reason,
      time,
      el("button", { type: "submit" }, "Shelve"),
    );
    return el("details", { class: "shelving" }, el("summary", {}, "Shelve"), form);
  }

  // What this alarm explains; part of the one event that it is.
  showChildren(children) {
    this.children.hidden = children.length === 0;
    this.children.replaceChildren(
      ...children.map((child) => el("li", {}, `${child.rule} ${child.title}`, el("span", { class: "note" }, ` ${(STATES[child.state] ?? child.state).toLowerCase()}`))),
    );
    this.explains = children.length;
    this.showMeta();
  }

  showMeta() {
    const alarm = this.alarm;
    const parts = [
      `${alarm.priority[0].toUpperCase()}${alarm.priority.slice(1)}`,
      STATES[alarm.state] ?? alarm.state,
      alarm.asset,
      `${withUnit(alarm.value, alarm.unit)}, limit ${withUnit(alarm.limit, alarm.unit)}`,
    ];
    if (this.explains) parts.push(`explains ${this.explains} more`);
    if (alarm.parent) parts.push(`part of ${alarm.parent}`);
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
    await this.desk.acknowledge(this.alarm, this.comment.value);
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
    this.reset.hidden = alarm.state !== "latched_acknowledged";
    this.reset.setAttribute("aria-label", `Reset ${alarm.title}`);
    // urgent and latched ones cannot be shelved
    this.shelving.hidden = alarm.priority === "urgent" || alarm.state.startsWith("latched");
    this.acknowledge.hidden = !due;
    this.acknowledge.setAttribute("aria-label", `Acknowledge ${alarm.title}`);
    this.commentLine.hidden = !due;
    this.facts.replaceChildren(
      ...prose("Cause", [alarm.cause]),
      ...prose("Response", steps(alarm.response)),
      ...prose("Consequence", [alarm.consequence]),
      ...Object.entries(alarm.evidence).flatMap(([name, value]) =>
        fact(name, typeof value === "number" ? number(value, Math.abs(value) >= 1000 ? 0 : 2) : (value ?? "not known")),
      ),
      ...fact("Rule", `${alarm.rule}, ${alarm.key}`),
      ...fact("Data quality", words(alarm.quality)),
      ...fact("Raised", time(alarm.raised_at)),
      ...(alarm.cleared_at ? fact("Cleared", time(alarm.cleared_at)) : []),
      ...(alarm.acknowledged_at
        ? fact("Acknowledged", time(alarm.acknowledged_at), ` by ${alarm.acknowledged_by}${alarm.comment ? `: ${alarm.comment}` : ""}`)
        : []),
      ...(alarm.occurrences > 1 ? fact("Occurrences", String(alarm.occurrences)) : []),
    );
  }

  tick(now) {
    setText(this.sinceTime, `${age(now - this.alarm.raised_at)}`);
    this.sinceTime.title = `since ${localDateTime(this.alarm.raised_at)} (${utcDateTime(this.alarm.raised_at)})`;
  }
}

export class Alarms {
  constructor(live, onActive) {
    this.live = live;
    this.onActive = onActive;
    this.rows = new Map();
    this.list = document.getElementById("alarm-list");
    this.asked = 0;
    this.history = document.getElementById("history");
    this.history.addEventListener("toggle", () => this.refreshHistory());
  }

  async refresh() {
    const turn = ++this.asked;
    try {
      const { alarms, held, orders } = await request("alarms");
      // a newer question is on its way: its answer counts
      if (turn !== this.asked) return;
      this.problem("");
      this.show(alarms, held);
      this.showHeld(held, orders, alarms);
      await this.refreshHistory();
    } catch (error) {
      this.problem(`The alarms could not be read (${error.message}). The list may be out of date.`);
      setTimeout(() => turn === this.asked && this.refresh(), 2000);
    }
  }

  // The details of one alarm at a time; of none for null.
  open(chosen) {
    for (const row of this.rows.values()) {
      if (row !== chosen && row.open) row.setOpen(false);
    }
    chosen?.setOpen(true);
  }

  async acknowledge(alarm, comment) {
    await this.act(alarm, "acknowledge", { comment }, "acknowledged");
  }

  async act(alarm, action, body, done) {
    try {
      await post(`alarms/${encodeURIComponent(alarm.id)}/${action}`, body);
    } catch (error) {
      this.problem(`${alarm.title} was not ${done} (${error.message}).`);
      return;
    }
    await this.refresh();
  }

  // Everything that nobody is told of, so that nothing is forgotten: who, why and until when.
  showHeld(held, orders, alarms) {
    const shown = new Set(alarms.map((alarm) => alarm.id));
    const rest = held.filter((alarm) => !(alarm.state === "suppressed" && shown.has(alarm.parent)));
    const silent = orders.filter((order) => !held.some((alarm) => alarm.key === order.condition));
    const count = rest.length + silent.length;
    document.getElementById("held").hidden = count === 0;
    setText(document.getElementById("held-title"), `Held back (${count})`);
    document.getElementById("held-list").replaceChildren(
      ...rest.map((alarm) =>
        el(
          "li",
          {},
          el("div", {}, el("strong", {}, STATES[alarm.state] ?? alarm.state), ` ${alarm.title}`),
          this.why(alarm.held_by, alarm.held_until, alarm.held_reason),
          alarm.state === "shelved"
            ? el("button", { type: "button", class: "quiet", "aria-label": `Unshelve ${alarm.title}`, onclick: () => this.act(alarm, "unshelve", {}, "unshelved") }, "Unshelve")
            : null,
        ),
      ),
      ...silent.map((order) =>
        el("li", {}, el("div", {}, el("strong", {}, STATES[order.kind] ?? order.kind), ` ${order.condition}`), this.why(order.who, order.until, order.reason)),
      ),
    );
  }

  why(who, until, reason) {
    return el("div", { class: "note" }, reason, who ? ` · ${who}` : "", until ? " · until " : "", until ? time(until) : "");
  }

  show(alarms, held = []) {
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
      row.showChildren([...alarms, ...held].filter((child) => child.parent === alarm.id));
    });
    const active = alarms.filter((alarm) => !isOver(alarm));
    const due = active.filter((alarm) => alarm.state === "unacknowledged").length;
    const latched = alarms.filter((alarm) => alarm.state === "latched_acknowledged").length;
    const over = alarms.length - active.length - latched;
    document.getElementById("alarm-none").hidden = alarms.length > 0;
    setText(
      document.getElementById("alarm-count"),
      [
        active.length > 0 ? `${active.length} active, ${due} to acknowledge` : "",
        over > 0 ? `${over} over, to acknowledge` : "",
        latched > 0 ? `${latched} over, to reset` : "",
      ]
        .filter(Boolean)
        .join("; "),
    );
    const counts = PRIORITIES.map((priority) => [priority, active.filter((a) => a.priority === priority)]);
    document.getElementById("summary").replaceChildren(
      ...counts
        .filter(([, found]) => found.length > 0)
        .map(([priority, found]) =>
          el(
            "span",
            { class: "count" },
            badge(priority, found.some((a) => a.state === "unacknowledged") ? "unacknowledged" : "acknowledged"),
            `${found.length} ${priority}`,
          ),
        ),
    );
    this.onActive(alarms);
    this.tick();
  }

  showIndeterminate(rules) {
    document.getElementById("indeterminate").hidden = rules.length === 0;
    document.getElementById("indeterminate-list").replaceChildren(
      ...rules.map((rule) =>
        el("li", {}, el("strong", {}, `${rule.rule} ${rule.asset}`), ` ${rule.reason} `, el("span", { class: "note" }, "since ", time(rule.since))),
      ),
    );
  }

  async refreshHistory() {
    if (!this.history.open) return;
    const alarms = await request("alarms/history?limit=50");
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
              alarm.cleared_at ? " to " : "",
              alarm.cleared_at ? time(alarm.cleared_at) : "",
              ` · ${STATES[alarm.state] ?? alarm.state}${alarm.acknowledged_by ? ` · ${alarm.acknowledged_by}` : ""}${alarm.comment ? `: ${alarm.comment}` : ""}`,
            ),
          ),
        ),
      ),
    );
  }

  tick() {
    const now = this.live.now();
    for (const row of this.rows.values()) row.tick(now);
  }

  problem(text) {
    const node = document.getElementById("alarm-problem");
    setText(node, text);
    node.hidden = text === "";
  }
}
