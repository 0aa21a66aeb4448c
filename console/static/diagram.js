// The one-line diagram. Calm and grey when normal; what is wrong is marked by shape and colour, what is not known
// is hatched and struck out with its reason and never looks current.

import { setAttribute, setText, svg } from "/static/dom.js";
import { number, utcTime, withUnit, words } from "/static/format.js";
import { isOver, mark, worstOf } from "/static/priority.js";

const CARD = { width: 122, height: 46 };
const LABEL = { width: 84, height: 36 };
const NEIGHBOUR = { width: 72, height: 22 };
const BAR = 40;
const BAD = 128;
const UNCERTAIN = 64;
// below this a flow has no direction worth an arrow [MW]
const STILL = 0.5;

function box(centre, size, attributes) {
  return svg("rect", {
    x: centre.x - size.width / 2,
    y: centre.y - size.height / 2,
    width: size.width,
    height: size.height,
    ...attributes,
  });
}

// Distance from a box' centre to its edge in a direction.
function toEdge(size, dx, dy) {
  return Math.min(size.width / 2 / Math.abs(dx || 1e-9), size.height / 2 / Math.abs(dy || 1e-9));
}

function overlaps(a, b) {
  return Math.abs(a.x - b.x) < (a.width + b.width) / 2 && Math.abs(a.y - b.y) < (a.height + b.height) / 2;
}

function standing(reading) {
  if (reading === undefined || (reading.value === null && reading.quality < BAD)) return "missing";
  if (reading.quality >= BAD) return "bad";
  return reading.quality >= UNCERTAIN ? "uncertain" : "good";
}

function told(name, reading, unit) {
  const state = standing(reading);
  if (state === "missing") return `${name}: no reading yet`;
  const value = withUnit(reading.value, unit);
  const at = `${utcTime(reading.t)} UTC`;
  if (state === "good") return `${name}: ${value} at ${at}`;
  if (state === "uncertain") return `${name}: ${value} at ${at}, uncertain: ${words(reading.reason)}`;
  return `${name}: not known, ${words(reading.reason)}; last ${value} at ${at}`;
}

export class Diagram {
  constructor(site, live, onPoint) {
    this.site = site;
    this.live = live;
    this.onPoint = onPoint;
    this.root = document.getElementById("diagram");
    this.root.setAttribute("viewBox", `0 0 ${site.width} ${site.height}`);
    this.nodes = new Map(site.nodes.map((node) => [node.id, node]));
    this.marks = new Map();
    this.flags = new Map();
    this.draw();
    this.legend();
    this.update();
  }

  draw() {
    const hatch = svg(
      "pattern",
      { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 6, height: 6, class: "hatch-ground" }),
      svg("rect", { width: 2, height: 6, class: "hatch-line" }),
    );
    this.root.append(svg("defs", {}, hatch));
    this.root.append(...this.areas());
    const lines = svg("g", {});
    const labels = svg("g", {});
    const cards = svg("g", {});
    this.root.append(lines, labels, cards);
    this.branches = this.site.branches.map((branch) => this.branch(branch, lines, labels));
    this.neighbours = this.site.neighbours.map((neighbour) => this.neighbour(neighbour, lines, cards));
    this.cards = this.site.nodes.map((node) => this.card(node, cards));
    this.root.append(...this.areaNames());
  }

  // A soft ground under the nodes and lines of each area.
  areas() {
    return this.site.areas.map((area, i) => {
      const own = new Set(this.site.nodes.filter((node) => node.area === area.id).map((node) => node.id));
      const ground = svg("g", { class: `area area-${i % 4}` });
      for (const { ends } of this.site.branches) {
        const [a, b] = ends.map((end) => this.nodes.get(end.node));
        if (own.has(a.id) && own.has(b.id)) {
          ground.append(svg("line", { x1: a.x, y1: a.y, x2: b.x, y2: b.y }));
        }
      }
      for (const id of own) {
        ground.append(box(this.nodes.get(id), { width: CARD.width + 26, height: CARD.height + 26 }, { rx: 20 }));
      }
      return ground;
    });
  }

  // Each area's name goes to the free place nearest to its nodes.
  areaNames() {
    const size = { width: 112, height: 18 };
    const taken = [
      ...this.site.nodes.map((node) => ({ x: node.x, y: node.y, ...CARD })),
      ...this.branches.map((branch) => ({ x: branch.x, y: branch.y, ...LABEL })),
      ...this.site.neighbours.map(({ x, y }) => ({ x, y, ...NEIGHBOUR })),
    ];
    for (const { ends } of this.site.branches) {
      const [a, b] = ends.map((end) => this.nodes.get(end.node));
      const pieces = Math.ceil(Math.hypot(a.x - b.x, a.y - b.y) / 8);
      for (let i = 0; i <= pieces; i += 1) {
        taken.push({ x: a.x + ((b.x - a.x) * i) / pieces, y: a.y + ((b.y - a.y) * i) / pieces, width: 6, height: 6 });
      }
    }
    return this.site.areas.map((area) => {
      let best = null;
      for (let x = size.width / 2 + 4; x < this.site.width - size.width / 2; x += 8) {
        for (let y = size.height / 2 + 4; y < this.site.height - size.height / 2; y += 6) {
          const here = { x, y, ...size };
          if (taken.some((other) => overlaps(here, other))) continue;
          const distances = this.site.nodes.map((node) => [Math.hypot(node.x - x, (node.y - y) * 1.6), node.area]);
          const own = distances.filter(([, of]) => of === area.id).map(([d]) => d);
          const other = distances.filter(([, of]) => of !== area.id).map(([d]) => d);
          const score = Math.min(...own) - 0.5 * Math.min(140, ...other);
          if (best === null || score < best.score) best = { x, y, score };
        }
      }
      if (best === null) return svg("g");
      taken.push({ ...best, ...size });
      const name = svg("text", { class: "area-name", x: best.x, y: best.y + 4, "text-anchor": "middle" });
      name.textContent = area.name;
      name.append(svg("title", {}, `${area.operator}, ${area.sync_area}`));
      return name;
    });
  }

  branch(branch, lines, labels) {
    const [a, b] = branch.ends.map((end) => this.nodes.get(end.node));
    const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
    const along = { x1: a.x, y1: a.y, x2: b.x, y2: b.y };
    const kind = `${branch.kind} ${branch.tie ? "tie" : ""}`;
    const line = svg("g", { class: `line ${kind}` }, svg("line", { ...along, class: "outer" }));
    if (branch.tie) line.append(svg("line", { ...along, class: "inner" }));
    const length = Math.hypot(b.x - a.x, b.y - a.y);
    const dx = (b.x - a.x) / length;
    const dy = (b.y - a.y) / length;
    const card = toEdge(CARD, dx, dy);
    const label = toEdge(LABEL, dx, dy);
    const angle = (Math.atan2(dy, dx) * 180) / Math.PI;
    const arrows = [(card + length / 2 - label) / 2, length - (card + length / 2 - label) / 2].map((at) =>
      svg("path", { d: "M-5.5 -5.2 L5.5 0 L-5.5 5.2 Z", class: "arrow", transform: `translate(${a.x + dx * at} ${a.y + dy * at}) rotate(${angle})` }),
    );
    const reversed = arrows.map((arrow) => `${arrow.getAttribute("transform")} rotate(180)`);
    const forward = arrows.map((arrow) => arrow.getAttribute("transform"));
    if (length / 2 - label - card > 10) line.append(...arrows);
    lines.append(line);

    const hatch = box(middle, LABEL, { rx: 3, class: "hatch" });
    const ground = box(middle, LABEL, { rx: 3, class: "ground" });
    const value = svg("text", { x: middle.x, y: middle.y - 3, "text-anchor": "middle", class: "value" });
    const second = svg("text", { x: middle.x + BAR / 2 + 18, y: middle.y + 12, "text-anchor": "end", class: "percent" });
    const reason = svg("text", { x: middle.x, y: middle.y + 12, "text-anchor": "middle", class: "reason" });
    const bar = svg("rect", { x: middle.x - 36, y: middle.y + 6, width: BAR, height: 5, class: "bar" });
    const fill = svg("rect", { x: middle.x - 36, y: middle.y + 6, width: 0, height: 5, class: "fill" });
    const title = svg("title");
    const group = svg("g", { class: "label", tabindex: 0, role: "button", "data-branch": branch.id }, title, ground, hatch, value, bar, fill, second, reason);
    this.clickable(group, () => branch.ends[0].power ?? branch.ends[1].power);
    labels.append(group);
    this.anchor(branch.id, middle.x, middle.y - LABEL.height / 2 + 6, LABEL.width / 2 + 3);
    return { branch, ...middle, line, arrows, forward, reversed, group, value, second, reason, bar, fill, title };
  }

  neighbour(neighbour, lines, cards) {
    const node = this.nodes.get(neighbour.node);
    const along = { x1: node.x, y1: node.y, x2: neighbour.x, y2: neighbour.y };
    lines.append(
      svg("g", { class: "line ac tie" }, svg("line", { ...along, class: "outer" }), svg("line", { ...along, class: "inner" })),
    );
    const text = svg("text", { x: neighbour.x, y: neighbour.y + 4, "text-anchor": "middle", class: "neighbour" });
    text.textContent = neighbour.name;
    cards.append(svg("g", {}, box(neighbour, NEIGHBOUR, { rx: 11, class: "neighbour-box" }), text));
  }

  card(node, cards) {
    const left = node.x - CARD.width / 2 + 7;
    const right = node.x + CARD.width / 2 - 7;
    const hatch = box(node, CARD, { rx: 4, class: "hatch" });
    const id = svg("text", { x: left, y: node.y - 6, class: "id" });
    id.textContent = node.id;
    const name = svg("text", { x: right, y: node.y - 6, "text-anchor": "end", class: "name" });
    const power = { value: svg("tspan"), unit: svg("tspan", { class: "unit" }) };
    const powerText = svg("text", { x: left, y: node.y + 13, class: "value" }, power.value, power.unit);
    const voltage = svg("text", { x: right, y: node.y + 13, "text-anchor": "end", class: "voltage" });
    const title = svg("title");
    const group = svg(
      "g",
      { class: "card", tabindex: 0, role: "button", "data-node": node.id },
      title,
      box(node, CARD, { rx: 4, class: "ground" }),
      hatch,
      id,
      name,
      powerText,
      voltage,
    );
    this.clickable(group, () => node.injection ?? node.voltage);
    cards.append(group);
    this.anchor(node.id, node.x, node.y - CARD.height / 2 + 1, CARD.width / 2 - 2);
    return { node, group, name, power, voltage, title };
  }

  clickable(group, point) {
    const choose = () => point() !== null && this.onPoint(point());
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        choose();
      }
    });
  }

  // Where an asset is marked: its worst alarm to the right, a rule that cannot be judged to the left.
  anchor(asset, x, y, aside) {
    this.marks.set(asset, { right: x + aside, left: x - aside, y, node: null });
  }

  update() {
    for (const drawn of this.branches) this.updateBranch(drawn);
    for (const drawn of this.cards) this.updateCard(drawn);
  }

  updateBranch(drawn) {
    const { branch } = drawn;
    const readings = branch.ends.map((end) => this.live.reading(end.power));
    const states = readings.map(standing);
    const usable = states.map((state) => state === "good" || state === "uncertain");
    // the sending end, where power leaves the busbar; the only usable one if the other is not known
    let from = usable[0] && usable[1] ? (readings[0].value >= readings[1].value ? 0 : 1) : usable[0] ? 0 : 1;
    if (!usable[0] && !usable[1]) from = readings[0] ? 0 : 1;
    const reading = readings[from];
    const state = states[from];
    const known = usable[from];
    const flow = reading && reading.value !== null ? reading.value : null;
    const oneEnd = known && !usable[1 - from];
    setAttribute(drawn.group, "class", `label ${known ? state : reading ? "bad" : "missing"} ${oneEnd ? "one-end" : ""}`);
    setAttribute(drawn.line, "class", `line ${branch.kind} ${branch.tie ? "tie" : ""} ${known ? "" : "unknown"}`);
    setText(drawn.value, flow === null ? "–" : `${number(Math.abs(flow))} MW${state === "uncertain" ? " ?" : ""}`);
    const loading = known ? Math.abs(flow) / branch.limit_mw : null;
    // a flow that only one end vouches for says so in place of the bar
    setText(drawn.second, loading === null ? "" : `${Math.round(loading * 100)} %${oneEnd ? ", one end" : ""}`);
    setAttribute(drawn.fill, "width", loading === null ? 0 : (BAR * Math.min(1, loading)).toFixed(1));
    for (const part of [drawn.bar, drawn.fill]) setAttribute(part, "visibility", known && !oneEnd ? "visible" : "hidden");
    setText(drawn.reason, known ? "" : reading ? words(reading.reason) : "no data");
    // + leaves the busbar: at the first end that is along the line, at the second end against it
    const moving = known && Math.abs(flow) >= STILL;
    const forward = (flow > 0) === (from === 0);
    drawn.arrows.forEach((arrow, i) => {
      setAttribute(arrow, "visibility", moving ? "visible" : "hidden");
      setAttribute(arrow, "transform", (forward ? drawn.forward : drawn.reversed)[i]);
    });
    const facts = [
      `${branch.id}, ${branch.kind === "hvdc" ? "HVDC" : `${branch.circuits} ${branch.circuits === 1 ? "circuit" : "circuits"}`}, ${number(branch.km, 0)} km, limit ${number(branch.limit_mw, 0)} MW`,
      branch.tie ? `tie ${branch.from_area} to ${branch.to_area}` : "",
      ...branch.ends.map((end, i) => told(`at ${end.node}, + leaves the busbar`, readings[i], "MW")),
      oneEnd ? "only one end is known" : "",
    ];
    setText(drawn.title, facts.filter(Boolean).join("\n"));
    const sender = branch.ends[forward ? 0 : 1].node;
    const receiver = branch.ends[forward ? 1 : 0].node;
    setAttribute(
      drawn.group,
      "aria-label",
      known
        ? `${branch.id}: ${number(Math.abs(flow))} MW from ${sender} to ${receiver}, ${Math.round(loading * 100)} percent of the limit`
        : `${branch.id}: flow not known, ${reading ? words(reading.reason) : "no data"}`,
    );
  }

  updateCard({ node, group, name, power, voltage, title }) {
    const injection = this.live.reading(node.injection);
    const level = this.live.reading(node.voltage);
    const frequency = this.live.reading(node.frequency);
    const state = standing(injection);
    const known = state === "good" || state === "uncertain";
    setAttribute(group, "class", `card ${state}`);
    const value = injection?.value ?? null;
    setText(power.value, value === null ? (state === "missing" ? "no data" : words(injection.reason)) : `${value > 0 ? "+" : ""}${number(value)}`);
    setText(power.unit, value === null ? "" : ` MW${state === "uncertain" ? " ?" : ""}`);
    const levelState = standing(level);
    setAttribute(voltage, "class", `voltage ${levelState}`);
    setText(voltage, level && level.value !== null ? `${number(level.value, 0)} kV` : "");
    // why an injection is not known matters more than the node's name; the id stays
    const called = node.name.length > 12 ? `${node.name.slice(0, 11)}…` : node.name;
    setText(name, state === "bad" && value !== null ? words(injection.reason) : called);
    const plants = node.plants.map((point) => {
      const about = this.site.points.find((found) => found.index === point);
      return told(about ? about.device : String(point), this.live.reading(point), "MW");
    });
    const facts = [
      `${node.id} ${node.name}, ${node.area}`,
      told("Injection, + into the bus", injection, "MW"),
      told("Voltage", level, "kV"),
      told("Frequency", frequency, "Hz"),
      ...plants,
    ];
    setText(title, facts.join("\n"));
    setAttribute(group, "aria-label", `${node.name}: injection ${known ? withUnit(injection.value, "MW") : "not known"}`);
  }

  // Alarms by the asset that they name: a branch, a node, or a link or device that stands at one of them.
  showAlarms(active) {
    const found = new Map();
    for (const alarm of active) {
      const place = this.placeOf(alarm.asset);
      if (place !== null) found.set(place, [...(found.get(place) ?? []), alarm]);
    }
    for (const [asset, anchor] of this.marks) {
      anchor.node?.remove();
      anchor.node = null;
      const alarms = found.get(asset);
      if (!alarms) continue;
      const worst = worstOf(alarms);
      const title = svg("title", {}, alarms.map((alarm) => `${alarm.title}${isOver(alarm) ? " (over, not acknowledged)" : ""}`).join("\n"));
      anchor.node = svg("g", { transform: `translate(${anchor.right} ${anchor.y})` }, title, mark(worst.priority, worst.state));
      this.root.append(anchor.node);
    }
  }

  showIndeterminate(rules) {
    for (const flag of this.flags.values()) flag.remove();
    this.flags.clear();
    for (const { asset, rule, reason } of rules) {
      const place = this.placeOf(asset);
      if (place === null || this.flags.has(place)) continue;
      const { left, y } = this.marks.get(place);
      const text = svg("text", { "text-anchor": "middle", y: 4 }, "?");
      const title = svg("title", {}, `${rule} cannot be judged: ${reason}`);
      const flag = svg("g", { class: "flag", transform: `translate(${left} ${y})` }, title, svg("circle", { r: 8 }), text);
      this.flags.set(place, flag);
      this.root.append(flag);
    }
  }

  placeOf(asset) {
    if (this.marks.has(asset)) return asset;
    const devices = this.site.devices.filter((device) => device.link === asset || device.id === asset);
    const nodes = new Set(devices.map((device) => device.node));
    return nodes.size === 1 ? [...nodes][0] : null;
  }

  legend() {
    const sample = (kind, text) => {
      const item = document.createElement("li");
      const picture = svg("svg", { width: 34, height: 12, viewBox: "0 0 34 12", "aria-hidden": "true" });
      const along = { x1: 0, y1: 6, x2: 34, y2: 6 };
      const line = svg("g", { class: `line ${kind}` }, svg("line", { ...along, class: "outer" }));
      if (kind.includes("tie")) line.append(svg("line", { ...along, class: "inner" }));
      picture.append(line);
      item.append(picture, text);
      return item;
    };
    const unknown = document.createElement("li");
    unknown.append(
      svg("svg", { width: 22, height: 12, "aria-hidden": "true" }, svg("rect", { width: 22, height: 12, rx: 2, fill: "url(#hatch)" })),
      "not known",
    );
    document.getElementById("legend").replaceChildren(
      sample("ac", "line"),
      sample("ac tie", "tie"),
      sample("hvdc tie", "HVDC tie"),
      unknown,
    );
  }
}
