// Exchanges between areas: what ties carry now, what was agreed, and what that makes for an area.

import { request } from "/static/api.js";
import { usable } from "/static/readings.js";

export class Exchange {
  constructor(site, live) {
    this.site = site;
    this.live = live;
    this.ties = site.branches.filter((branch) => branch.tie);
    this.agreed = {};
    this.tolerances = {};
    this.askedAt = 0;
  }

  // The agreed exchange changes with ramps: asked anew every 30 s, interpolated in between.
  async refresh() {
    if (performance.now() - this.askedAt < 30_000 && this.askedAt > 0) return;
    this.askedAt = performance.now();
    try {
      const { schedules, tolerances } = await request("agreed", { background: true });
      this.agreed = schedules;
      this.tolerances = tolerances;
    } catch {
      // the next tick asks again; without an answer no schedule is shown
      this.askedAt = 0;
    }
  }

  deliveryEnd(tie) {
    return tie.ends.find((end) => end.node === tie.delivery_node);
  }

  // Whether a deviation is more than what a rule of the asset allows; never where none judges it.
  exceeds(asset, deviation) {
    const limit = this.tolerances[asset];
    return limit !== undefined && deviation !== null && Math.abs(deviation) > limit;
  }

  // Scheduled exchange of a tie at its delivery node [MW], + leaves that node's busbar; null when none is known.
  scheduled(tie, at = this.live.now()) {
    const line = this.agreed[tie.id];
    if (!line?.length) return null;
    const after = line.findIndex(([ms]) => ms >= at);
    if (after <= 0) return after === 0 ? line[0][1] : line.at(-1)[1];
    const [[t1, v1], [t2, v2]] = [line[after - 1], line[after]];
    return v1 + ((v2 - v1) * (at - t1)) / (t2 - t1);
  }

  tiesOf(area) {
    return this.ties.filter((tie) => tie.out_of === area || tie.into === area);
  }

  // Export of an area over a tie by its meter at the delivery node, as rules and settlement count it [MW].
  exportOver(tie, area) {
    const reading = this.live.reading(this.deliveryEnd(tie)?.power ?? null);
    const agreed = this.scheduled(tie);
    const sign = tie.out_of === area ? 1 : -1;
    return {
      measured: usable(reading) ? sign * reading.value : null,
      scheduled: agreed === null ? null : sign * agreed,
      reading,
    };
  }

  // Net position [MW], + is export; null as soon as one tie is not known.
  position(area) {
    const found = this.tiesOf(area).map((tie) => this.exportOver(tie, area));
    const sum = (name) => (found.length && found.every((each) => each[name] !== null) ? found.reduce((all, each) => all + each[name], 0) : null);
    return { measured: sum("measured"), scheduled: sum("scheduled"), ties: found.length };
  }

  frequency(area) {
    for (const node of this.site.nodes) {
      if (node.area !== area) continue;
      const reading = this.live.reading(node.frequency);
      if (usable(reading)) return reading;
    }
    const any = this.site.nodes.find((node) => node.area === area && node.frequency !== null);
    return any && this.live.reading(any.frequency);
  }
}
