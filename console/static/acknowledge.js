// The page behind the link in a message: shows one alarm, and acknowledges it when its button is pressed. Looking
// changes nothing.

import { ApiProblem, post, request } from "/static/api.js";
import { el, setText } from "/static/dom.js";
import { age, localDateTime, number, utcDateTime, withUnit, words, zone } from "/static/format.js";
import { badge } from "/static/priority.js";

const path = `acknowledgements/${encodeURIComponent(location.pathname.split("/").pop())}`;
const at = (id) => document.getElementById(id);

const OVER = "The condition is over.";
const HELD = new Set(["shelved", "suppressed", "out_of_service"]);

function moment(ms) {
  return el("time", { datetime: new Date(ms).toISOString(), title: utcDateTime(ms) }, `${localDateTime(ms)} (${zone()})`);
}

function outcome(alarm) {
  if (alarm.acknowledged_by) {
    const said = alarm.comment ? `: ${alarm.comment}` : "";
    return `Acknowledged by ${alarm.acknowledged_by} at ${localDateTime(alarm.acknowledged_at)}${said}.`;
  }
  if (HELD.has(alarm.state)) {
    const by = alarm.held_by ? ` by ${alarm.held_by}` : "";
    return `There is nothing to acknowledge: it is ${words(alarm.state)}${by}. ${alarm.held_reason}`;
  }
  return `${OVER} There is nothing to acknowledge.`;
}

function fact(name, ...content) {
  return [el("dt", {}, name), el("dd", {}, ...content)];
}

function advice(name, paragraphs) {
  if (!paragraphs.some(Boolean)) return [];
  return [el("section", {}, el("h2", {}, name), ...paragraphs.map((text) => el("p", {}, text)))];
}

function show(view) {
  const { alarm } = view;
  const over = alarm.cleared_at !== null;
  const since = alarm.began_at || alarm.raised_at;
  document.title = `${alarm.title} - greenbridge`;
  setText(at("site"), view.site);
  setText(at("title"), alarm.title);
  setText(at("grade"), `${words(alarm.priority)} priority, ${over ? "over" : words(alarm.state)}`);
  at("badge").replaceChildren(badge(alarm.priority, alarm.state));
  at("facts").replaceChildren(
    ...fact("Where", [alarm.asset, alarm.area].filter(Boolean).join(", ")),
    ...fact("Since", moment(since)),
    ...(over ? fact("Over since", moment(alarm.cleared_at)) : fact("For", age(Date.now() - since))),
    ...fact("Measured", `${withUnit(alarm.value, alarm.unit)}, limit ${withUnit(alarm.limit, alarm.unit)}`),
    ...(alarm.quality === "good" ? [] : fact("Quality", words(alarm.quality))),
    ...fact("Alarm", alarm.id),
  );
  const evidence = Object.entries(alarm.evidence).map(
    ([name, value]) => `${name}: ${typeof value === "number" ? number(value) : value ?? "not known"}`,
  );
  at("advice").replaceChildren(
    ...advice("Cause", [alarm.cause]),
    ...advice("Consequence", [alarm.consequence]),
    ...advice("What to do", alarm.response.split(/\s+(?=\d+\. )/)),
    ...advice("Evidence", evidence),
  );
  at("form").hidden = !view.waits;
  at("outcome").hidden = view.waits;
  if (!view.waits) setText(at("outcome"), outcome(alarm));
  setText(
    at("whose"),
    `In the name of ${view.recipient}; it is written into the audit. This link is for this alarm alone and is good until ` +
      `${localDateTime(view.expires)}.`,
  );
  at("card").hidden = false;
}

function complain(error) {
  const text = error instanceof ApiProblem ? error.message : "The server does not answer. Try again, or call the control room.";
  const problem = at("problem");
  setText(problem, `${text.charAt(0).toUpperCase()}${text.slice(1)}.`.replace(/\.\.$/, "."));
  problem.hidden = false;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = at("confirm");
  button.disabled = true;
  at("problem").hidden = true;
  try {
    show(await post(path, { comment: at("comment").value }));
  } catch (error) {
    complain(error);
  }
  button.disabled = false;
});

try {
  show(await request(path));
} catch (error) {
  complain(error);
}
