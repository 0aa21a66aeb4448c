// The page's languages. English is the source text and the key; what a catalogue lacks is shown in English.

const KEY = "greenbridge-language";
export const LANGUAGES = [
  ["en", "English"],
  ["ru", "Русский (черновик)"],
];

let catalogue = {};
export let language = "en";

export async function loadLanguage() {
  const wanted = localStorage.getItem(KEY) ?? navigator.language.slice(0, 2);
  if (wanted !== "ru") return;
  catalogue = (await import("/static/languages/ru.js")).default;
  language = "ru";
  document.documentElement.lang = "ru";
}

export function chooseLanguage(wanted) {
  localStorage.setItem(KEY, wanted);
  location.reload();
}

// A text in the chosen language; {name} is replaced by values.name.
export function t(text, values = {}) {
  return (catalogue[text] ?? text).replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// Translates what stands in a template: texts of elements that are marked with data-t.
export function translate(root) {
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.textContent);
  for (const node of root.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", t(node.getAttribute("aria-label")));
}
