// Puts the page together: one live feed and one list of alarms, which every place of the page follows.

import { AlarmStore } from "/static/alarm_store.js";
import { request } from "/static/api.js";
import { Banner } from "/static/banner.js";
import { el, setText } from "/static/dom.js";
import { Exchange } from "/static/exchange.js";
import { localTime, utcTime, zone } from "/static/format.js";
import { chooseLanguage, language, LANGUAGES, loadLanguage, t, translate } from "/static/i18n.js";
import { Live } from "/static/live.js";
import { badge, isOver, PRIORITIES } from "/static/priority.js";
import { Router } from "/static/router.js";
import { Sound } from "/static/sound.js";
import { Strip } from "/static/strip.js";
import { account } from "/static/pages/account.js";
import { area } from "/static/pages/area.js";
import { audit } from "/static/pages/audit.js";
import { desk } from "/static/pages/desk.js";
import { overview } from "/static/pages/overview.js";
import { plant } from "/static/pages/plant.js";
import { quality } from "/static/pages/quality.js";
import { system } from "/static/pages/system.js";
import { tie } from "/static/pages/tie.js";
import { trends } from "/static/pages/trends.js";

const byId = (id) => document.getElementById(id);

// [address of the link, text, pattern, page, what a session must be allowed to see it]
const PLACES = [
  ["/", "Overview", /^\/$/, overview, "read"],
  ["/alarms", "Alarm desk", /^\/alarms$/, desk, "read"],
  ["/areas", "Areas", /^\/areas(?:\/(?<id>[^/]+))?$/, area, "read"],
  ["/ties", "Ties", /^\/ties(?:\/(?<id>[^/]+))?$/, tie, "read"],
  ["/plants", "Plants", /^\/plants(?:\/(?<id>[^/]+))?$/, plant, "read"],
  ["/trends", "Trends", /^\/trends$/, trends, "read"],
  ["/quality", "Data quality", /^\/quality$/, quality, "read"],
  ["/system", "System", /^\/system$/, system, "read"],
  ["/audit", "Audit", /^\/audit$/, audit, "audit"],
  ["/account", "Account", /^\/account$/, account, "read"],
];

function showState(live) {
  document.body.dataset.feed = live.state;
  const since = live.lastTick === null ? "" : ` ${t("since {time}", { time: localTime(live.lastTick) })}`;
  const texts = {
    live: t("live"),
    connecting: t("connecting"),
    stale: `${t("stale")}${since}`,
    reconnecting: `${t("reconnecting, stale")}${since}`,
  };
  setText(byId("feed-text"), texts[live.state]);
  const stale = byId("alarm-stale");
  if (stale === null) return;
  stale.hidden = live.state === "live" || live.state === "connecting";
  setText(stale, t("The list is as of {time}; alarms may have changed.", { time: live.lastTick === null ? t("an unknown time") : localTime(live.lastTick) }));
}

function showClocks(live) {
  const now = live.now();
  setText(byId("clock-utc"), utcTime(now));
  setText(byId("clock-local"), localTime(now));
  setText(byId("clock-zone"), `${t("Local")} (${zone()})`);
}

// How many alarms are active, by priority; the way to the desk from every place.
function showSummary(alarms) {
  const active = alarms.filter((alarm) => !isOver(alarm));
  byId("summary").replaceChildren(
    ...PRIORITIES.map((priority) => [priority, active.filter((alarm) => alarm.priority === priority)])
      .filter(([, found]) => found.length > 0)
      .map(([priority, found]) =>
        el(
          "a",
          { class: "count", href: `/alarms?priority=${priority}` },
          badge(priority, found.some((alarm) => alarm.state === "unacknowledged") ? "unacknowledged" : "acknowledged"),
          `${found.length} ${t(priority)}`,
        ),
      ),
  );
}

class Frame {
  constructor(app) {
    this.app = app;
    this.leaving = null;
    this.places = PLACES.filter((place) => app.may(place[4]));
    byId("places").replaceChildren(...this.places.map(([href, text]) => el("li", {}, el("a", { href }, t(text)))));
  }

  // Leaves the page that is shown and shows another one.
  show(found, query, first) {
    this.leaving?.abort();
    this.leaving = new AbortController();
    const main = byId("main");
    const place = this.places.find(([, , , page]) => page === found?.page);
    for (const link of byId("places").querySelectorAll("a")) {
      if (place && link.getAttribute("href") === place[0]) {
        link.setAttribute("aria-current", "page");
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
    }
    main.replaceChildren();
    main.className = "";
    document.title = place ? `${t(place[1])} - ${this.app.site.name}` : this.app.site.name;
    if (!place) {
      main.className = "page";
      main.append(el("p", { class: "problem" }, t("There is no such page, or you may not see it.")));
      return;
    }
    found.page(this.app, main, found.parts, query, this.leaving.signal);
    if (place[0] === "/") document.title = this.app.site.name;
    showState(this.app.live);
    if (!first) main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function head(app) {
  const { site, session } = app;
  setText(byId("site-name"), site.name);
  setText(byId("who"), session.who);
  byId("who").title = t(session.role);
  byId("language").replaceChildren(...LANGUAGES.map(([code, name]) => el("option", { value: code, selected: code === language }, name)));
  byId("language").addEventListener("change", (event) => chooseLanguage(event.target.value));
  byId("sign-out").addEventListener("click", async () => {
    await request("session", { method: "DELETE" });
    location.replace("/signin");
  });
}

// An unattended session ends; who moves something is there, and says so at most once a minute.
function attend() {
  let told = performance.now();
  for (const name of ["pointerdown", "keydown", "wheel"]) {
    addEventListener(
      name,
      () => {
        if (performance.now() - told < 60_000) return;
        told = performance.now();
        request("session").catch(() => {});
      },
      { passive: true },
    );
  }
}

async function main() {
  await loadLanguage();
  const [site, session] = await Promise.all([request("site"), request("session")]);
  document.title = site.name;
  translate(document);
  const live = new Live();
  const store = new AlarmStore(live);
  const app = {
    site,
    session,
    live,
    store,
    exchange: new Exchange(site, live),
    may: (permission) => session.permissions.includes(permission),
    last: {},
  };
  head(app);
  const strip = new Strip();
  const banner = new Banner(live);
  new Sound(store);

  live.addEventListener("state", () => showState(live));
  live.addEventListener("clock", () => {
    showClocks(live);
    showState(live);
  });
  // the configuration was changed: what this page drew is of another site
  live.addEventListener("site", (event) => {
    if (event.detail.version !== site.version) location.reload();
  });
  for (const name of ["indeterminate", "status", "announcements"]) {
    live.addEventListener(name, (event) => {
      app.last[name] = event.detail;
    });
  }
  live.addEventListener("status", (event) => strip.show(event.detail));
  live.addEventListener("announcements", (event) => banner.show(event.detail));
  store.addEventListener("change", () => showSummary(store.alarms));

  const frame = new Frame(app);
  let first = true;
  const router = new Router(
    frame.places.map(([, , pattern, page]) => [pattern, page]),
    (found, query) => {
      frame.show(found, query, first);
      first = false;
    },
  );
  app.router = router;
  router.show();
  live.start();
  attend();
  setInterval(() => banner.tick(), 5000);
}

main();
