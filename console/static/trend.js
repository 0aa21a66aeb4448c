// The trend of one point: mean line, band from lowest to highest where readings are summed up, hatched where every
// reading was bad, a bar at the foot where some were not good, and nothing at all where there are none.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { request } from "/static/api.js";
import { el, setText } from "/static/dom.js";
import { localTime, number, words } from "/static/format.js";

const WINDOWS = [
  { text: "5 min", seconds: 300, every: 2000 },
  { text: "1 h", seconds: 3600, every: 10000 },
  { text: "6 h", seconds: 21600, every: 30000 },
];
const BAD = 128;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// A scale that does not blow noise up: at least 2 % of the value is shown.
function range(_, low, high) {
  if (low === null || high === null) return [0, 1];
  const least = Math.max(Math.abs(low), Math.abs(high)) * 0.02 || 1;
  const missing = Math.max(0, least - (high - low));
  const pad = (high - low + missing) * 0.08;
  return [low - missing / 2 - pad, high + missing / 2 + pad];
}

export class Trend {
  constructor(site, live) {
    this.site = site;
    this.live = live;
    this.byPath = new Map(site.points.map((point) => [point.path, point]));
    this.byIndex = new Map(site.points.map((point) => [point.index, point]));
    this.chart = document.getElementById("trend-chart");
    this.field = document.getElementById("trend-point");
    this.note = document.getElementById("trend-note");
    this.window = WINDOWS[0];
    this.plot = null;
    this.point = null;
    this.data = null;
    this.turn = 0;
    this.timer = null;
  }

  start() {
    document.getElementById("points").replaceChildren(
      ...this.site.points.map((point) => el("option", { value: point.path }, `${point.title} [${point.unit}]`)),
    );
    document.getElementById("trend-window").append(
      ...WINDOWS.map((window, i) =>
        el(
          "label",
          {},
          el("input", { type: "radio", name: "window", checked: i === 0, onchange: () => this.choose(this.point, window) }),
          el("span", {}, window.text),
        ),
      ),
    );
    this.field.addEventListener("change", () => {
      const point = this.byPath.get(this.field.value.trim());
      if (point) this.choose(point.index);
      else this.problem(`No point is called ${this.field.value}; choose one from the list.`);
    });
    // a second click into the field offers the whole list again
    this.field.addEventListener("focus", () => this.field.select());
    new ResizeObserver(() => this.resize()).observe(this.chart);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    const tie = this.site.branches.find((branch) => branch.tie) ?? this.site.branches[0];
    const first = tie?.ends[0].power ?? this.site.points[0]?.index;
    if (first !== undefined && first !== null) this.choose(first);
  }

  choose(point, window = this.window) {
    const about = this.byIndex.get(point);
    if (!about) return;
    if (point !== this.point || window !== this.window) this.data = null;
    this.point = point;
    this.window = window;
    this.field.value = about.path;
    setText(this.note, `${about.title} [${about.unit === "1" ? "count" : about.unit}]`);
    this.refresh();
  }

  async refresh() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    const about = this.byIndex.get(this.point);
    const end = Math.round(this.live.now());
    const start = end - this.window.seconds * 1000;
    try {
      const data = await request(`series?point=${encodeURIComponent(about.path)}&start=${start}&end=${end}&intervals=600`);
      if (turn !== this.turn) return;
      this.problem("");
      this.data = data;
      const unit = about.unit === "1" ? "count" : about.unit;
      setText(this.note, `${about.title} [${unit}]${data.t.length === 0 ? ", no readings in this window" : ""}`);
      this.draw();
    } catch (error) {
      if (turn !== this.turn) return;
      this.problem(`The trend could not be read (${error.message}); what is drawn is out of date.`);
    }
    this.timer = setTimeout(() => this.refresh(), this.window.every);
  }

  columns() {
    const { t, low, high, mean } = this.data;
    return [t.map((ms) => ms / 1000), low, high, mean];
  }

  draw() {
    if (this.data === null) return;
    const { unit } = this.data;
    const key = `${this.data.path} ${this.window.seconds} ${matchMedia("(prefers-color-scheme: dark)").matches}`;
    if (this.plot === null || this.key !== key) {
      this.plot?.destroy();
      this.key = key;
      this.plot = this.make(unit);
    } else {
      this.plot.setData(this.columns(), false);
    }
    this.plot.setScale("x", { min: this.data.start / 1000, max: this.data.end / 1000 });
  }

  make(unit) {
    const text = colour("--muted");
    const grid = { stroke: colour("--grid"), width: 1 };
    const axis = { stroke: text, grid, ticks: { ...grid, size: 4 }, font: "11px system-ui, sans-serif" };
    const times = (_, ticks, __, ___, increment) =>
      ticks.map((s) => (increment >= 60 ? localTime(s * 1000).slice(0, 5) : localTime(s * 1000)));
    // as many decimals as the distance of the ticks has: 2.5 apart must not be shown as 2 and 3 apart
    const amounts = (_, ticks, __, ___, increment) =>
      ticks.map((v) => number(v, (String(Number(increment.toFixed(6))).split(".")[1] ?? "").length));
    const digits = unit === "Hz" ? 3 : 1;
    const line = colour("--line-strong");
    return new uPlot(
      {
        ...this.size(),
        padding: [8, 30, 0, 0],
        cursor: { y: false },
        legend: { live: true },
        scales: { x: { time: true, auto: false }, y: { range } },
        axes: [
          { ...axis, size: 28, values: times },
          { ...axis, size: 62, values: amounts },
        ],
        series: [
          { label: "time", value: (_, s) => (s === null ? "–" : localTime(s * 1000)) },
          { label: "lowest", stroke: "transparent", points: { show: false }, value: (_, v) => number(v, digits) },
          { label: "highest", stroke: "transparent", points: { show: false }, value: (_, v) => number(v, digits) },
          { label: `mean [${unit}]`, stroke: line, width: 1.5, points: { show: false }, value: (_, v) => number(v, digits) },
        ],
        bands: [{ series: [2, 1], fill: colour("--band") }],
        hooks: { drawClear: [(plot) => this.ground(plot)] },
      },
      this.columns(),
      this.chart,
    );
  }

  // Behind the line: hatched where no reading was usable, with the reason; a bar at the foot where some were not good.
  ground(plot) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const step = this.data.step / 1000;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    const runs = [];
    this.data.t.forEach((ms, i) => {
      const worst = this.data.worst[i];
      if (worst === 0) return;
      const x = plot.valToPos(ms / 1000, "x", true);
      const x2 = plot.valToPos(ms / 1000 + step, "x", true);
      const bad = this.data.count[i] === 0;
      ctx.fillStyle = bad ? this.pattern(ctx) : colour("--suspect");
      ctx.fillRect(x, bad ? top : top + height - 6, Math.max(1, x2 - x), bad ? height : 6);
      if (bad && (runs.length === 0 || x > runs.at(-1).end + 1)) runs.push({ x, reason: this.data.reasons[worst] });
      if (bad) runs.at(-1).end = x2;
    });
    ctx.textAlign = "left";
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    for (const { x, reason } of runs) {
      const text = words(reason ?? "");
      const wide = ctx.measureText(text).width + 6;
      const from = Math.min(x, left + width - wide);
      ctx.fillStyle = colour("--panel");
      ctx.fillRect(from, top, wide, 19 * devicePixelRatio);
      ctx.fillStyle = colour("--muted");
      ctx.fillText(text, from + 3, top + 14 * devicePixelRatio);
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
    const [legend, padding] = [28, 8];
    return { width: Math.max(200, this.chart.clientWidth - 12), height: Math.max(60, this.chart.clientHeight - legend - padding) };
  }

  resize() {
    this.plot?.setSize(this.size());
  }

  problem(text) {
    const node = document.getElementById("trend-problem");
    setText(node, text);
    node.hidden = text === "";
    this.chart.classList.toggle("out-of-date", text !== "");
  }
}
