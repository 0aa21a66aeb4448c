// Elements are built from text nodes and attributes only: a name that a device or a configuration brings along can
// never become markup. (The content security policy forbids innerHTML and its kin as well.)

import { localDateTime, utcDateTime } from "/static/format.js";

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

// A time of day as people read it here; in UTC when pointed at.
export function time(ms) {
  return el("time", { title: utcDateTime(ms), datetime: new Date(ms).toISOString() }, localDateTime(ms));
}

// Sets text only when it differs, so that nothing is repainted or announced without need.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  const text = value === null ? null : String(value);
  if (node.getAttribute(name) === text) return;
  if (text === null) node.removeAttribute(name);
  else node.setAttribute(name, text);
}
