// Priorities are told by shape, letter and word; colour comes on top (ISA-101: never colour alone).

import { svg } from "/static/dom.js";

export const PRIORITIES = ["urgent", "high", "medium", "low"];

const SHAPES = {
  urgent: "M0 -9 L9 0 L0 9 L-9 0 Z",
  high: "M0 -8.5 L9 7.5 L-9 7.5 Z",
  medium: "M-7.5 -7.5 H7.5 V7.5 H-7.5 Z",
  low: "M0 -8 A8 8 0 1 1 0 8 A8 8 0 1 1 0 -8 Z",
};
const LETTERS = { urgent: "U", high: "H", medium: "M", low: "L" };

// The mark itself, centred on 0, 0; unacknowledged ones are filled and blink calmly, the others are hollow.
export function mark(priority, state) {
  const letter = svg("text", { y: priority === "high" ? 5.5 : 3.6, "text-anchor": "middle" });
  letter.textContent = LETTERS[priority] ?? "?";
  return svg(
    "g",
    { class: `mark ${priority} ${state}` },
    svg("path", { d: SHAPES[priority] ?? SHAPES.low }),
    letter,
  );
}

export function badge(priority, state) {
  return svg("svg", { viewBox: "-10 -10 20 20", width: 22, height: 22, "aria-hidden": "true" }, mark(priority, state));
}

export function worstOf(alarms) {
  return [...alarms].sort(
    (a, b) =>
      PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
      (a.state === "unacknowledged" ? 0 : 1) - (b.state === "unacknowledged" ? 0 : 1),
  )[0];
}
