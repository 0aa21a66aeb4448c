// The overview's trend of one point.

import { request } from "/static/api.js";
import { Chart } from "/static/chart.js";
import { el, setText } from "/static/dom.js";
import { t } from "/static/i18n.js";

const WINDOWS = [
  { text: "5 min", seconds: 300, every: 2000 },
  { text: "1 h", seconds: 3600, every: 10000 },
  { text: "6 h", seconds: 21600, every: 30000 },
];

export class Trend {
  constructor(app, signal) {
    this.app = app;
    this.site = app.site;
    this.live = app.live;
    this.signal = signal;
    this.byPath = new Map(this.site.points.map((point) => [point.path, point]));
    this.byIndex = new Map(this.site.points.map((point) => [point.index, point]));
    this.root = document.getElementById("trend-chart");
    this.field = document.getElementById("trend-point");
    this.note = document.getElementById("trend-note");
    this.window = WINDOWS[0];
    this.chart = new Chart(this.root, { signal });
    this.point = null;
    this.turn = 0;
    this.timer = null;
    signal.addEventListener("abort", () => clearTimeout(this.timer));
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
      else this.problem(t("No point is called {name}; choose one from the list.", { name: this.field.value }));
    });
    // a second click into the field offers the whole list again
    this.field.addEventListener("focus", () => this.field.select());
    const tie = this.site.branches.find((branch) => branch.tie) ?? this.site.branches[0];
    const first = tie?.ends[0].power ?? this.site.points[0]?.index;
    if (first !== undefined && first !== null) this.choose(first);
  }

  choose(point, window = this.window) {
    const about = this.byIndex.get(point);
    if (!about) return;
    this.point = point;
    this.window = window;
    this.field.value = about.path;
    this.describe(about, "");
    document.getElementById("trend-more").href = `/trends?point=${encodeURIComponent(about.path)}&last=${window.seconds}`;
    this.refresh();
  }

  describe(about, more) {
    setText(this.note, `${about.title} [${about.unit === "1" ? t("count") : about.unit}]${more}`);
  }

  async refresh() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    const about = this.byIndex.get(this.point);
    const end = Math.round(this.live.now());
    const start = end - this.window.seconds * 1000;
    try {
      const data = await request(`series?point=${encodeURIComponent(about.path)}&start=${start}&end=${end}&intervals=600`, { background: true });
      if (turn !== this.turn || this.signal.aborted) return;
      this.problem("");
      this.describe(about, data.t.length === 0 ? `, ${t("no readings in this window")}` : "");
      this.chart.show({ series: [data], start, end });
    } catch (error) {
      if (turn !== this.turn || this.signal.aborted) return;
      this.problem(t("The trend could not be read ({reason}); what is drawn is out of date.", { reason: error.message }));
    }
    this.timer = setTimeout(() => this.refresh(), this.window.every);
  }

  problem(text) {
    const node = document.getElementById("trend-problem");
    setText(node, text);
    node.hidden = text === "";
    this.root.classList.toggle("out-of-date", text !== "");
  }
}
