// The overview: the corridor's diagram, how each area stands, the alarms, one trend.

import { AlarmList } from "/static/alarms.js";
import { Diagram } from "/static/diagram.js";
import { el, setText } from "/static/dom.js";
import { number, signed } from "/static/format.js";
import { t, translate } from "/static/i18n.js";
import { mark, worstOf } from "/static/priority.js";
import { svg } from "/static/dom.js";
import { Trend } from "/static/trend.js";

// Frequency and net position of each area against its schedule.
class AreaCards {
  constructor(app) {
    this.app = app;
    this.cards = app.site.areas.map((area) => {
      const parts = { frequency: el("span", { class: "value" }), position: el("span", { class: "value" }), schedule: el("span", { class: "note" }), alarms: el("span", { class: "marks" }) };
      const node = el(
        "li",
        {},
        el(
          "a",
          { href: `/areas/${encodeURIComponent(area.id)}`, class: "area-card" },
          el("strong", {}, area.name),
          parts.alarms,
          el("span", {}, parts.frequency),
          el("span", { title: t("Net position and what is agreed; + is export") }, `${t("net")} `, parts.position, " ", parts.schedule),
        ),
      );
      return { area, node, ...parts };
    });
    document.getElementById("areas").replaceChildren(...this.cards.map((card) => card.node));
  }

  update() {
    const { exchange, live } = this.app;
    exchange.refresh();
    for (const { area, frequency, position, schedule } of this.cards) {
      const hertz = exchange.frequency(area.id);
      setText(frequency, hertz && hertz.quality < 128 ? `${number(hertz.value, 3)} Hz` : t("no frequency"));
      const net = exchange.position(area.id, live.now());
      setText(position, net.measured === null ? t("not known") : signed(net.measured));
      setText(schedule, net.scheduled === null ? "MW" : t("of {value} MW", { value: signed(net.scheduled) }));
    }
  }

  showAlarms(alarms) {
    for (const { area, alarms: place } of this.cards) {
      const mine = alarms.filter((alarm) => alarm.area === area.id);
      if (mine.length === 0) {
        place.replaceChildren();
        continue;
      }
      const worst = worstOf(mine);
      const picture = svg("svg", { viewBox: "-13 -13 26 26", width: 20, height: 20, role: "img", "aria-label": t("{count} alarms", { count: mine.length }) }, mark(worst.priority, worst.state));
      place.replaceChildren(picture, String(mine.length));
    }
  }
}

export function overview(app, main, _, __, signal) {
  main.className = "overview";
  main.append(document.getElementById("overview").content.cloneNode(true));
  translate(main);
  const { site, live, store } = app;
  setText(document.getElementById("illustrative"), site.illustrative);
  document.getElementById("illustrative").title = site.illustrative;
  const trend = new Trend(app, signal);
  const diagram = new Diagram(site, live, (point) => trend.choose(point));
  const cards = new AreaCards(app);
  const alarms = new AlarmList(app);
  const follow = (source, name, run) => source.addEventListener(name, run, { signal });
  const shown = () => {
    alarms.show();
    diagram.showAlarms(store.alarms);
    cards.showAlarms(store.alarms);
  };
  follow(live, "values", () => {
    diagram.update();
    cards.update();
  });
  follow(store, "change", shown);
  follow(store, "problem", () => alarms.problem(store.error));
  const unjudged = (rules) => {
    alarms.showIndeterminate(rules);
    diagram.showIndeterminate(rules);
  };
  follow(live, "indeterminate", (event) => unjudged(event.detail));
  if (store.known) shown();
  unjudged(app.last.indeterminate ?? []);
  cards.update();
  trend.start();
  const timer = setInterval(() => {
    alarms.tick();
    cards.update();
  }, 5000);
  signal.addEventListener("abort", () => clearInterval(timer));
}
