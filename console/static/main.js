// Puts the page together: one live feed, and the views that follow it.

import { Alarms } from "/static/alarms.js";
import { request } from "/static/api.js";
import { Banner } from "/static/banner.js";
import { Diagram } from "/static/diagram.js";
import { setText } from "/static/dom.js";
import { localTime, utcTime, zone } from "/static/format.js";
import { Live } from "/static/live.js";
import { Strip } from "/static/strip.js";
import { Trend } from "/static/trend.js";

const byId = (id) => document.getElementById(id);

function showState(live) {
  document.body.dataset.feed = live.state;
  const since = live.lastTick === null ? "" : ` since ${localTime(live.lastTick)}`;
  const texts = {
    live: "live",
    connecting: "connecting",
    stale: `stale${since}`,
    reconnecting: `reconnecting, stale${since}`,
  };
  setText(byId("feed-text"), texts[live.state]);
  const stale = byId("alarm-stale");
  stale.hidden = live.state === "live" || live.state === "connecting";
  setText(stale, `The list is as of ${live.lastTick === null ? "an unknown time" : localTime(live.lastTick)}; alarms may have changed.`);
}

function showClocks(live) {
  const now = live.now();
  setText(byId("clock-utc"), utcTime(now));
  setText(byId("clock-local"), localTime(now));
  setText(byId("clock-zone"), `Local (${zone()})`);
}

async function main() {
  const [site, session] = await Promise.all([request("site"), request("session")]);
  document.title = site.name;
  setText(byId("site-name"), site.name);
  setText(byId("who"), session.who);
  setText(byId("illustrative"), site.illustrative);
  byId("illustrative").title = site.illustrative;
  byId("sign-out").addEventListener("click", async () => {
    await request("session", { method: "DELETE" });
    location.replace("/signin");
  });

  const live = new Live();
  const trend = new Trend(site, live);
  const diagram = new Diagram(site, live, (point) => trend.choose(point));
  const alarms = new Alarms(live, (active) => diagram.showAlarms(active));
  const strip = new Strip();
  const banner = new Banner(live);

  live.addEventListener("state", () => showState(live));
  live.addEventListener("clock", () => {
    showClocks(live);
    showState(live);
  });
  // the configuration was changed: what this page drew is of another site
  live.addEventListener("site", (event) => {
    if (event.detail.version !== site.version) location.reload();
  });
  live.addEventListener("values", () => diagram.update());
  live.addEventListener("alarms", () => alarms.refresh());
  live.addEventListener("indeterminate", (event) => {
    alarms.showIndeterminate(event.detail);
    diagram.showIndeterminate(event.detail);
  });
  live.addEventListener("status", (event) => strip.show(event.detail));
  live.addEventListener("announcements", (event) => banner.show(event.detail));
  live.start();
  trend.start();
  setInterval(() => {
    banner.tick();
    alarms.tick();
  }, 5000);
}

main();
