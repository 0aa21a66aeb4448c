// The system strip: is the machinery behind the picture in order?

import { el } from "/static/dom.js";
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
        "Devices",
        `${status.devices_seen} of ${status.devices}`,
        status.devices_seen < status.devices,
        "Devices that delivered a reading since the start",
      ),
      item("Readings", `${number(status.readings_per_s, 0)} /s`, status.readings_per_s === 0, `${number(status.readings, 0)} ever committed`),
      item(
        "Read to durable",
        `${seconds(status.read_to_durable.p50_s)}, p99 ${seconds(status.read_to_durable.p99_s)}`,
        false,
        "From the receipt of a reading to its commit: median and 99th percentile",
      ),
    ];
    for (const store of status.stores) {
      const sum = `received ${store.received} = stored ${store.stored} + revised ${store.revised} + duplicates ${store.duplicates} + suppressed ${store.suppressed} + dead-lettered ${store.dead_lettered} + expired ${store.expired} + pending ${store.pending}`;
      items.push(
        item(
          `Store ${store.name}`,
          `${number(store.pending, 0)} pending, sum ${store.holds ? "holds" : `off by ${number(store.unaccounted, 0)}`}${store.detail ? `: ${store.detail}` : ""}`,
          !store.holds || store.detail !== "" || store.lag_s > 10,
          `${sum}; lag ${seconds(store.lag_s)}`,
        ),
      );
    }
    items.push(item("Dead letters", number(status.dead_letters, 0), false, "Received, but not usable as a reading; kept with the reason"));
    items.push(
      item(
        "Links",
        [
          `${status.links.length - down.length} of ${status.links.length} up`,
          ...down.flatMap((link, i) => [i === 0 ? ", down: " : ", ", el("span", { class: "down", title: why(link) }, link.link)]),
          ...notes.map((link) => el("span", { class: "note", title: link.link }, `; ${link.link}: ${link.detail}`)),
        ],
        down.length > 0,
        (down.length > 0 ? down.map(why) : status.links.map((link) => link.link)).join("\n"),
      ),
    );
    if (status.not_ready) items.push(item("Not ready", status.not_ready, true, status.not_ready));
    this.list.replaceChildren(...items);
  }
}
