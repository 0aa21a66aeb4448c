// A trend of one or more points: mean lines, bands from lowest to highest where readings are summed up, hatched where
// every reading was bad, a bar at the foot where some were not good, and nothing at all where there are none. Above the
// plot runs a lane for what is to be said about a time: why readings are bad, which alarms came.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { localDateTime, localTime, number, words } from "/static/format.js";
import { t } from "/static/i18n.js";

const LANE = 20;
const FOOT = 6;
export const STYLES = [[], [7, 3], [2, 3], [10, 3, 2, 3], [5, 5], [1, 2]];

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A scale that does not blow noise up: at least 2 % of the value is shown.
function range(_, low, high) {
  if (low === null || high === null || low === undefined) return [0, 1];
  const least = Math.max(Math.abs(low), Math.abs(high)) * 0.02 || 1;
  const missing = Math.max(0, least - (high - low));
  const pad = (high - low + missing) * 0.08;
  return [low - missing / 2 - pad, high + missing / 2 + pad];
}

const shown = (unit) => (unit === "1" ? t("count") : unit);

export class Chart {
  // onRange(startMs, endMs) is told when somebody drags over a part of the time.
  constructor(root, { onRange = null, signal = null, axisTitles = true } = {}) {
    this.root = root;
    this.onRange = onRange;
    this.axisTitles = axisTitles;
    this.plot = null;
    this.series = [];
    this.key = "";
    const observer = new ResizeObserver(() => this.plot?.setSize(this.size()));
    observer.observe(root);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => this.draw();
    dark.addEventListener("change", redraw);
    signal?.addEventListener("abort", () => {
      observer.disconnect();
      dark.removeEventListener("change", redraw);
      this.plot?.destroy();
    });
  }

  // series: answers of /api/v1/series; schedules: [{t: [ms], mw: [], unit}]; band: half width around a schedule;
  // alarms: [{raised_at, priority, title}].
  show({ series, start, end, schedules = [], band = 0, alarms = [] }) {
    Object.assign(this, { series, start, end, schedules, band, alarms });
    this.draw();
  }

  table() {
    const tables = this.series.map(({ t: times, low, high, mean }) => [times.map((ms) => ms / 1000), low, high, mean]);
    for (const { line } of this.schedules) tables.push([line.map(([ms]) => ms / 1000), line.map(([, mw]) => mw)]);
    if (tables.length === 0) return [[]];
    return tables.length === 1 ? tables[0] : uPlot.join(tables);
  }

  draw() {
    if (!this.series.length && !this.schedules?.length) {
      this.plot?.destroy();
      this.plot = null;
      this.key = "";
      return;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const key = JSON.stringify([this.series.map((s) => [s.path, s.unit]), this.schedules.map((s) => s.title), dark]);
    if (this.plot === null || this.key !== key) {
      this.plot?.destroy();
      this.key = key;
      this.plot = this.make();
    } else {
      this.plot.setData(this.table(), false);
    }
    this.plot.setScale("x", { min: this.start / 1000, max: this.end / 1000 });
  }

  style(i) {
    return { stroke: colour(this.series.length > 1 ? `--series-${i % 6}` : "--line-strong"), dash: STYLES[i % 6], width: 1.5 };
  }

  make() {
    const text = colour("--muted");
    const grid = { stroke: colour("--grid"), width: 1 };
    const axis = { stroke: text, grid, ticks: { ...grid, size: 4 }, font: "11px system-ui, sans-serif", labelFont: "11px system-ui, sans-serif" };
    const units = [...new Set([...this.series.map((s) => s.unit), ...this.schedules.map((s) => s.unit)])];
    const times = (_, ticks, __, ___, increment) =>
      ticks.map((s, i) => {
        if (increment >= 86400) return localDateTime(s * 1000, 0).slice(5, 10);
        const day = i === 0 || new Date(ticks[i - 1] * 1000).getDate() !== new Date(s * 1000).getDate();
        const clock = increment >= 60 ? localTime(s * 1000).slice(0, 5) : localTime(s * 1000);
        return day && this.end - this.start > 86_400_000 ? `${clock}\n${localDateTime(s * 1000, 0).slice(5, 10)}` : clock;
      });
    // as many decimals as the distance of the ticks has: 2.5 apart must not be shown as 2 and 3 apart
    const amounts = (_, ticks, __, ___, increment) =>
      ticks.map((v) => number(v, (String(Number(increment.toFixed(6))).split(".")[1] ?? "").length));
    const one = this.series.length === 1;
    const hidden = one ? {} : { class: "unseen-row" };
    const lines = [];
    const bands = [];
    this.series.forEach((s, i) => {
      const digits = s.unit === "Hz" ? 3 : 1;
      const value = (_, v) => number(v, digits);
      const bound = { scale: s.unit, stroke: "transparent", points: { show: false }, value };
      const first = lines.length + 1;
      lines.push(
        { ...bound, label: one ? t("lowest") : "", ...hidden },
        { ...bound, label: one ? t("highest") : "", ...hidden },
        { ...this.style(i), scale: s.unit, label: one ? `${t("mean")} [${shown(s.unit)}]` : `${s.label ?? s.path} [${shown(s.unit)}]`, points: { show: false }, value },
      );
      bands.push({ series: [first + 1, first], fill: one ? colour("--band") : `${colour(`--series-${i % 6}`)}33` });
    });
    for (const schedule of this.schedules) {
      lines.push({ scale: schedule.unit, label: schedule.title, stroke: colour("--schedule"), width: 1.5, dash: [4, 4], points: { show: false }, spanGaps: true, value: (_, v) => number(v, 1) });
    }
    const scales = { x: { time: true, auto: false } };
    for (const unit of units) scales[unit] = { range };
    const axes = [{ ...axis, size: 30, values: times }];
    units.forEach((unit, i) => {
      axes.push({ ...axis, scale: unit, side: i % 2 === 0 ? 3 : 1, size: 58, values: amounts, grid: i === 0 ? grid : { show: false }, ...(units.length > 1 && this.axisTitles ? { label: shown(unit), labelSize: 16 } : {}) });
    });
    return new uPlot(
      {
        ...this.size(),
        padding: [LANE, units.length > 1 ? 8 : 24, 0, 0],
        cursor: { y: false, drag: { x: this.onRange !== null, y: false, setScale: false } },
        legend: { live: true },
        scales,
        axes,
        series: [{ label: t("time"), value: (_, s) => (s === null ? "–" : localTime(s * 1000)) }, ...lines],
        bands,
        hooks: {
          drawClear: [(plot) => this.ground(plot)],
          draw: [(plot) => this.notes(plot)],
          setSelect: [(plot) => this.selected(plot)],
        },
      },
      this.table(),
      this.root,
    );
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 4 || this.onRange === null) return;
    const from = plot.posToVal(left, "x") * 1000;
    const to = plot.posToVal(left + width, "x") * 1000;
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.onRange(Math.round(from), Math.round(to));
  }

  // Behind the lines: hatched where no reading of a point was usable; a bar at the foot where some were not good; the
  // tolerance around a schedule.
  ground(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    if (this.band > 0) for (const schedule of this.schedules) this.tolerance(plot, schedule);
    const lane = this.series.length > 1 ? height / this.series.length : height;
    this.reasons = [];
    this.series.forEach((s, number_) => {
      const step = s.step / 1000;
      const from = top + (this.series.length > 1 ? height - FOOT * devicePixelRatio * (number_ + 1) * 1.5 : 0);
      s.t.forEach((ms, i) => {
        const worst = s.worst[i];
        if (worst === 0) return;
        const x = plot.valToPos(ms / 1000, "x", true);
        const x2 = plot.valToPos(ms / 1000 + step, "x", true);
        const bad = s.count[i] === 0;
        const many = this.series.length > 1;
        ctx.fillStyle = bad ? this.pattern(ctx) : colour("--suspect");
        const y = many ? from : bad ? top : top + height - FOOT * devicePixelRatio;
        const h = many ? FOOT * devicePixelRatio : bad ? lane : FOOT * devicePixelRatio;
        ctx.fillRect(x, y, Math.max(1, x2 - x), h);
        if (!bad) return;
        const last = this.reasons.at(-1);
        if (last && last.of === number_ && x <= last.end + 1) last.end = x2;
        else this.reasons.push({ of: number_, x, end: x2, text: words(s.reasons[worst] ?? "") });
      });
    });
    ctx.restore();
  }

  tolerance(plot, { line, unit }) {
    const { ctx } = plot;
    const at = ([ms, mw], side) => [plot.valToPos(ms / 1000, "x", true), plot.valToPos(mw + side * this.band, unit, true)];
    ctx.beginPath();
    line.forEach((corner, i) => (i === 0 ? ctx.moveTo(...at(corner, 1)) : ctx.lineTo(...at(corner, 1))));
    [...line].reverse().forEach((corner) => ctx.lineTo(...at(corner, -1)));
    ctx.closePath();
    ctx.fillStyle = colour("--tolerance");
    ctx.fill();
  }

  // In the lane above the plot, where no curve runs: reasons of bad readings, and alarms with their priority's letter.
  notes(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const scale = devicePixelRatio;
    ctx.save();
    ctx.font = `${11 * scale}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    const y = top - (LANE * scale) / 2;
    const marks = this.alarms.map((alarm) => plot.valToPos(alarm.raised_at / 1000, "x", true));
    let free = left;
    for (const { x, text } of this.reasons) {
      const wide = ctx.measureText(text).width;
      let from = Math.max(left, Math.min(x, left + width - wide));
      // beside the mark of an alarm, not under it
      for (const at of marks) if (from < at + 9 * scale && from + wide > at - 9 * scale) from = at - 11 * scale - wide;
      if (from < free) continue;
      ctx.fillStyle = colour("--muted");
      ctx.fillText(text, from, y);
      free = from + wide + 8 * scale;
    }
    for (const alarm of this.alarms) {
      const x = plot.valToPos(alarm.raised_at / 1000, "x", true);
      if (x < left || x > left + width) continue;
      ctx.strokeStyle = colour(`--${alarm.priority}`);
      ctx.setLineDash([3 * scale, 3 * scale]);
      ctx.lineWidth = scale;
      ctx.beginPath();
      ctx.moveTo(x, top - 3 * scale);
      ctx.lineTo(x, top + height);
      ctx.stroke();
      ctx.setLineDash([]);
      const size = 15 * scale;
      ctx.fillStyle = colour(`--${alarm.priority}`);
      ctx.fillRect(x - size / 2, y - size / 2, size, size);
      ctx.fillStyle = colour(alarm.priority === "medium" ? "--medium-text" : "--on-alarm");
      ctx.textAlign = "center";
      ctx.font = `700 ${10 * scale}px system-ui, sans-serif`;
      ctx.fillText(alarm.priority[0].toUpperCase(), x, y + scale);
      ctx.font = `${11 * scale}px system-ui, sans-serif`;
      ctx.textAlign = "left";
    }
    ctx.restore();
  }

  pattern(ctx) {
    const tile = document.createElement("canvas");
    tile.width = 8;
    tile.height = 8;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour("--hatch");
    pen.lineWidth = 1.5;
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
    return ctx.createPattern(tile, "repeat");
  }

  size() {
    // the legend under the plot, and the padding around both
    const rows = this.series.length > 2 && this.root.clientWidth < 700 ? this.series.length : this.series.length > 4 ? 2 : 1;
    const [legend, padding] = [10 + 20 * rows, 8];
    return { width: Math.max(200, this.root.clientWidth - 12), height: Math.max(60, this.root.clientHeight - legend - padding) };
  }

  // The chart as a picture with its title and legend, on the page's ground.
  async picture(title) {
    const source = this.root.querySelector("canvas");
    const head = 26 * devicePixelRatio;
    const foot = 20 * devicePixelRatio * this.series.length + 8 * devicePixelRatio;
    const canvas = document.createElement("canvas");
    canvas.width = source.width;
    canvas.height = source.height + head + foot;
    const pen = canvas.getContext("2d");
    pen.fillStyle = colour("--panel");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = colour("--text");
    pen.font = `600 ${13 * devicePixelRatio}px system-ui, sans-serif`;
    pen.fillText(title, 10 * devicePixelRatio, 18 * devicePixelRatio);
    pen.drawImage(source, 0, head);
    pen.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
    this.series.forEach((s, i) => {
      const y = head + source.height + (i * 20 + 12) * devicePixelRatio;
      pen.strokeStyle = this.style(i).stroke;
      pen.setLineDash(STYLES[i % 6].map((n) => n * devicePixelRatio));
      pen.lineWidth = 2 * devicePixelRatio;
      pen.beginPath();
      pen.moveTo(10 * devicePixelRatio, y);
      pen.lineTo(44 * devicePixelRatio, y);
      pen.stroke();
      pen.fillStyle = colour("--text");
      pen.fillText(`${s.path} [${shown(s.unit)}]`, 52 * devicePixelRatio, y + 4 * devicePixelRatio);
    });
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
}
