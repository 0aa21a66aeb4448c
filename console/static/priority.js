// Priorities are told by shape, letter and word; colour comes on top (ISA-101: never colour alone).

import { svg } from "/static/dom.js";

export const PRIORITIES = ["urgent", "high", "medium", "low"];

const SHAPES = {
  urgent: "M0 -9 L9 0 L0 9 L-9 0 Z",
  high: "M0 -8.5 L9 7.5 L-9 7.5 Z",
  medium: "M-7.5 -7.5 H7.5 V7.5 H-7.5 Z",
  low: "M0 -8 A8 8 0 1 1 0 8 A8 8 0 1 1 0 -8 Z",
};
const RETURN = "M2.6 2.7 V-0.4 A2.2 2.2 0 0 0 -1.8 -0.4 V2.6 M-3.5 0.9 L-1.8 2.8 L-0.1 0.9";
const LETTERS = { urgent: "U", high: "H", medium: "M", low: "L" };

// The mark itself, centred on 0, 0. An unacknowledged one is filled and has a ring that comes and goes; the mark itself
// never fades. Others are hollow; one whose condition is over carries a sign of return.
export function mark(priority, state) {
  const letter = svg("text", { y: priority === "high" ? 5.5 : 3.6, "text-anchor": "middle" });
  letter.textContent = LETTERS[priority] ?? "?";
  const shape = SHAPES[priority] ?? SHAPES.low;
  return svg(
    "g",
    { class: `mark ${priority} ${state}` },
    state === "unacknowledged" ? svg("path", { d: shape, class: "ring", transform: "scale(1.42)" }) : null,
    svg("path", { d: shape }),
    letter,
    state === "returned_unacknowledged"
      ? svg("g", { class: "back", transform: "translate(7.6 7.6)" }, svg("circle", { r: 5.2 }), svg("path", { d: RETURN }))
      : null,
  );
}

export function badge(priority, state) {
  return svg("svg", { viewBox: "-13 -13 26 26", width: 26, height: 26, "aria-hidden": "true" }, mark(priority, state));
}

// The condition is over, but nobody has acknowledged it: no longer active.
export function isOver(alarm) {
  return alarm.state === "returned_unacknowledged" || alarm.state.startsWith("latched");
}

export function worstOf(alarms) {
  return [...alarms].sort(
    (a, b) =>
      isOver(a) - isOver(b) ||
      PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
      (a.state === "unacknowledged" ? 0 : 1) - (b.state === "unacknowledged" ? 0 : 1),
  )[0];
}
