// The alarms as the server last told them, for every part of the page that shows some; and what is done about them.

import { post, request } from "/static/api.js";
import { t } from "/static/i18n.js";

export class AlarmStore extends EventTarget {
  constructor(live) {
    super();
    this.alarms = [];
    this.held = [];
    this.orders = [];
    this.known = false;
    this.error = "";
    this.asked = 0;
    live.addEventListener("alarms", () => this.refresh());
  }

  async refresh() {
    const turn = ++this.asked;
    try {
      const { alarms, held, orders } = await request("alarms", { background: true });
      // a newer question is on its way: its answer counts
      if (turn !== this.asked) return;
      Object.assign(this, { alarms, held, orders, known: true });
      this.complain("");
      this.tell("change");
    } catch (error) {
      this.complain(t("The alarms could not be read ({reason}). The list may be out of date.", { reason: error.message }));
      setTimeout(() => turn === this.asked && this.refresh(), 2000);
    }
  }

  // done is the whole sentence that says that it was not.
  async act(alarm, action, body, complaint) {
    try {
      await post(`alarms/${encodeURIComponent(alarm.id)}/${action}`, body);
    } catch (error) {
      this.complain(`${complaint} (${error.message}).`);
      return false;
    }
    await this.refresh();
    return true;
  }

  // Alarms about an asset, or about anything in a set of assets.
  of(assets) {
    const wanted = typeof assets === "string" ? new Set([assets]) : assets;
    return this.alarms.filter((alarm) => wanted.has(alarm.asset));
  }

  complain(text) {
    if (this.error === text) return;
    this.error = text;
    this.tell("problem");
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }
}
