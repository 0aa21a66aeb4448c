// Readings as people see them: a value, how far it can be trusted, and when it was measured.

import { el } from "/static/dom.js";
import { localDateTime, utcDateTime, withUnit, words } from "/static/format.js";
import { request } from "/static/api.js";
import { t } from "/static/i18n.js";

const BAD = 128;
const UNCERTAIN = 64;

export function standing(reading) {
  if (reading === undefined || (reading.value === null && reading.quality < BAD)) return "missing";
  if (reading.quality >= BAD) return "bad";
  return reading.quality >= UNCERTAIN ? "uncertain" : "good";
}

export function usable(reading) {
  return standing(reading) === "good" || standing(reading) === "uncertain";
}

// A cell that never lets an old value look current: struck out and hatched with its reason, or "no data".
export function value(reading, unit, digits = null) {
  const state = standing(reading);
  if (state === "missing") return el("span", { class: "reading missing" }, t("no data"));
  const text = withUnit(reading.value, unit, digits);
  const title = `${words(reading.reason)}, ${localDateTime(reading.t)} (${utcDateTime(reading.t)})`;
  if (state === "good") return el("span", { class: "reading good", title }, text);
  return el(
    "span",
    { class: `reading ${state}`, title },
    el("span", { class: "number" }, text),
    el("span", { class: "why" }, words(reading.reason)),
  );
}

// A state text of a point, for those that have names for their numbers.
export function shown(reading, point) {
  const name = point.states?.[String(reading?.value)];
  if (name === undefined || !usable(reading)) return value(reading, point.unit);
  return el("span", { class: "reading good", title: `${reading.value}` }, words(name));
}

// Asks for points that the stream does not carry, every two seconds while a page shows them.
export class Poll {
  constructor(app, devices, signal, onReadings) {
    this.query = devices.map((device) => `device=${encodeURIComponent(device)}`).join("&");
    this.onReadings = onReadings;
    this.app = app;
    this.readings = new Map();
    if (devices.length === 0) return;
    const timer = setInterval(() => this.ask(), 2000);
    signal.addEventListener("abort", () => clearInterval(timer));
    this.ask();
  }

  async ask() {
    if (document.hidden) return;
    try {
      const found = await request(`last?${this.query}`, { background: true });
      this.readings = new Map(found.map(([point, value_, quality, reason, at]) => [point, { value: value_, quality, reason, t: at }]));
    } catch {
      // what is shown is marked as stale by the feed's state; the next question may succeed
      return;
    }
    this.onReadings(this.readings);
  }
}
