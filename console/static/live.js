// The live feed. What is shown is current only while the server's tick arrives; otherwise everything is stale.

import { request } from "/static/api.js";

const STALE_AFTER_MS = 3500;
const RETRY_MS = 2000;

export class Live extends EventTarget {
  constructor() {
    super();
    this.values = new Map();
    this.state = "connecting";
    this.lastTick = null;
    this.offset = 0;
    this.heard = 0;
    this.source = null;
  }

  start() {
    this.connect();
    setInterval(() => this.check(), 500);
  }

  // Time of the server [ms], carried on by this machine's clock between ticks.
  now() {
    return Date.now() + this.offset;
  }

  reading(point) {
    return point === null ? undefined : this.values.get(point);
  }

  connect() {
    const source = new EventSource("/api/v1/stream");
    this.source = source;
    let first = true;
    source.addEventListener("open", () => {
      first = true;
    });
    source.addEventListener("values", (event) => {
      // a connection begins with every value: what is not among them is not known any more
      if (first) this.values.clear();
      first = false;
      for (const [point, value, quality, reason, t] of JSON.parse(event.data)) {
        this.values.set(point, { value, quality, reason, t });
      }
      this.tell("values");
    });
    for (const name of ["site", "alarms", "indeterminate", "status", "announcements"]) {
      source.addEventListener(name, (event) => this.tell(name, JSON.parse(event.data)));
    }
    source.addEventListener("tick", (event) => {
      this.lastTick = JSON.parse(event.data).now;
      this.offset = this.lastTick - Date.now();
      this.heard = performance.now();
      this.become("live");
    });
    source.addEventListener("error", () => {
      this.become("reconnecting");
      if (source.readyState === EventSource.CLOSED) this.again();
    });
  }

  // The browser gives up after an answer that is no stream, for example 401 or 503.
  async again() {
    try {
      await request("session", { background: true });
    } catch {
      // the session is over (the request leads to the sign-in page) or the server is away
    }
    setTimeout(() => this.connect(), RETRY_MS);
  }

  check() {
    if (this.state === "live" && performance.now() - this.heard > STALE_AFTER_MS) this.become("stale");
    this.tell("clock");
  }

  become(state) {
    if (this.state === state) return;
    this.state = state;
    this.tell("state", state);
  }

  tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
