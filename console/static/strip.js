// The system strip: is the machinery behind the picture in order?

import { el } from "/static/dom.js";
import { t } from "/static/i18n.js";
import { localDateTime, number, seconds, utcDateTime } from "/static/format.js";

function item(name, value, abnormal, title) {
  const content = Array.isArray(value) ? value : [value];
  return el(
    "div",
    { class: abnormal ? "abnormal" : null, title },
    el("dt", {}, name),
    el("dd", {}, abnormal ? el("span", { class: "warn", "aria-hidden": "true" }, "!") : null, ...content),
  );
}

function why(link) {
  return `${link.link}: ${link.detail || "down"} since ${localDateTime(link.since)} (${utcDateTime(link.since)})`;
}

export class Strip {
  constructor() {
    this.list = document.getElementById("strip");
  }

  show(status) {
    const down = status.links.filter((link) => !link.up);
    const notes = status.links.filter((link) => link.up && link.detail);
    const items = [
      item(
        t("Devices"),
        t("{good} of {all}", { good: status.devices_seen, all: status.devices }),
        status.devices_seen < status.devices,
        t("Devices that delivered a reading since the start"),
      ),
      item(t("Readings"), `${number(status.readings_per_s, 0)} /s`, status.readings_per_s === 0, t("{count} ever", { count: number(status.readings, 0) })),
      item(
        t("Read to durable"),
        `${seconds(status.read_to_durable.p50_s)}, p99 ${seconds(status.read_to_durable.p99_s)}`,
        false,
        t("From the receipt of a reading to its commit: median and 99th percentile"),
      ),
    ];
    for (const store of status.stores) {
      const sum = `received ${store.received} = stored ${store.stored} + revised ${store.revised} + duplicates ${store.duplicates} + suppressed ${store.suppressed} + dead-lettered ${store.dead_lettered} + expired ${store.expired} + pending ${store.pending}`;
      items.push(
        item(
          t("Store {name}", { name: store.name }),
          `${t("{count} pending", { count: number(store.pending, 0) })}, ${store.holds ? t("sum holds") : t("sum off by {count}", { count: number(store.unaccounted, 0) })}${store.detail ? `: ${store.detail}` : ""}`,
          !store.holds || store.detail !== "" || store.lag_s > 10,
          `${sum}; lag ${seconds(store.lag_s)}`,
        ),
      );
    }
    items.push(item(t("Dead letters"), number(status.dead_letters, 0), false, t("Received, but not usable as a reading; kept with the reason")));
    items.push(
      item(
        t("Links"),
        [
          t("{up} of {all} up", { up: status.links.length - down.length, all: status.links.length }),
          ...down.flatMap((link, i) => [i === 0 ? `, ${t("down")}: ` : ", ", el("span", { class: "down", title: why(link) }, link.link)]),
        ],
        down.length > 0,
        (down.length > 0 ? down.map(why) : status.links.map((link) => `${link.link}${link.detail ? `: ${link.detail}` : ""}`)).join("\n"),
      ),
    );
    // what is to be known of links that are up is long: it stands on a page of its own
    if (notes.length) items.push(item(t("Notes"), el("a", { href: "/quality" }, t("{count} on links", { count: notes.length })), false, notes.map((link) => `${link.link}: ${link.detail}`).join("\n")));
    if (status.not_ready) items.push(item(t("Not ready"), status.not_ready, true, status.not_ready));
    this.list.replaceChildren(...items);
  }
}
