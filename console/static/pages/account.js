// The own account; for admins every user; tokens for programs.

import { post, request } from "/static/api.js";
import { el, setText, time } from "/static/dom.js";
import { t } from "/static/i18n.js";
import { heading, panel, problemLine } from "/static/pages/parts.js";
import { Table } from "/static/table.js";

const ROLES = ["viewer", "operator", "engineer", "admin"];
const ABILITIES = { viewer: "sees values and alarms", operator: "also acts on alarms and sees the audit", engineer: "also takes out of service, sends schedules", admin: "also manages users" };

// A form that sends something and says how it went; labels stand beside their fields.
function form(fields, button, send) {
  const message = problemLine();
  const done = el("p", { class: "note across", role: "status" });
  const node = el(
    "form",
    {
      class: "form-grid pad",
      onsubmit: async (event) => {
        event.preventDefault();
        message.hidden = true;
        setText(done, "");
        try {
          setText(done, (await send()) ?? "");
          for (const [, input] of fields) if (input.type === "password" || input.type === "text") input.value = "";
        } catch (error) {
          setText(message, error.message);
          message.hidden = false;
        }
      },
    },
    ...fields.flatMap(([label, input], i) => {
      input.id ||= `${button.replaceAll(/\W+/g, "-")}-${i}`;
      return [el("label", { for: input.id }, label), input];
    }),
    el("div", { class: "across" }, el("button", { type: "submit" }, button)),
    el("div", { class: "across" }, message, done),
  );
  return node;
}

const password = (autocomplete) => el("input", { type: "password", minlength: 12, maxlength: 256, required: true, autocomplete });
const roleChoice = (chosen) => el("select", {}, ...ROLES.map((role) => el("option", { value: role, selected: role === chosen, title: t(ABILITIES[role]) }, `${t(role)}: ${t(ABILITIES[role])}`)));

export function account(app, main, _, __, signal) {
  main.className = "page";
  const { session } = app;
  main.append(heading(t("Account"), `${session.who}${session.role ? `, ${t(session.role)}` : ""}`));
  const columns = el("div", { class: "columns" });
  main.append(columns);
  if (app.may("users")) columns.append(users(app, signal));
  if (!session.user) columns.append(panel(t("Sign-in link"), [el("p", { class: "pad" }, t("You came by a sign-in link: there is no password to change and no token to make. An admin makes users."))]));
  if (session.user) columns.append(ownPassword());
  if (session.user) columns.append(tokens(app, signal));
}

function users(app, signal) {
  const problem = problemLine();
  const table = new Table(
    t("Users"),
    [
      { title: t("Name"), header: true, cell: (row) => row.name },
      { title: t("Role"), cell: (row) => role(row) },
      { title: t("Password set"), cell: (row) => time(row.password_set) },
      { title: "", cell: (row) => remove(row) },
    ],
    (row) => row.name,
  );
  const act = async (run) => {
    problem.hidden = true;
    try {
      await run();
    } catch (error) {
      setText(problem, error.message);
      problem.hidden = false;
    }
    await show();
  };
  const role = (row) => {
    const select = el("select", { "aria-label": t("Role of {name}", { name: row.name }), onchange: () => act(() => post(`users/${encodeURIComponent(row.name)}/role`, { role: select.value })) }, ...ROLES.map((each) => el("option", { value: each, selected: each === row.role }, t(each))));
    return select;
  };
  const remove = (row) =>
    el("button", { type: "button", class: "quiet", "aria-label": t("Remove {name}", { name: row.name }), onclick: () => confirm(t("Remove {name}? Sessions and tokens of that person end.", { name: row.name })) && act(() => request(`users/${encodeURIComponent(row.name)}`, { method: "DELETE" })) }, t("Remove"));
  async function show() {
    const found = await request("users");
    if (!signal.aborted) table.show(found, t("There is no user yet"));
  }
  const name = el("input", { type: "text", required: true, maxlength: 64, autocomplete: "off", spellcheck: "false" });
  const chosen = roleChoice("operator");
  const secret = password("new-password");
  show();
  return panel(t("Users"), [
    problem,
    table.node,
    form([[t("Name"), name], [t("Role"), chosen], [t("Password, 12 characters or more"), secret]], t("Add user"), async () => {
      const added = await post("users", { name: name.value.trim(), role: chosen.value, password: secret.value });
      await show();
      return t("{name} can sign in now", { name: added.name });
    }),
  ]);
}

function ownPassword() {
  const [old, fresh] = [password("current-password"), password("new-password")];
  return panel(t("Own password"), [
    form([[t("Old password"), old], [t("New password, 12 characters or more"), fresh]], t("Change password"), async () => {
      await post("password", { old: old.value, new: fresh.value });
      location.replace("/signin");
    }),
  ]);
}

function tokens(app, signal) {
  const secret = el("p", { class: "secret", hidden: true });
  const table = new Table(
    t("Tokens"),
    [
      { title: t("For"), header: true, cell: (row) => row.label },
      { title: t("Owner"), cell: (row) => row.owner },
      { title: t("May"), cell: (row) => row.rights.map((each) => t(each)).join(", ") },
      { title: t("Until"), cell: (row) => time(row.expires) },
      { title: "", cell: (row) => el("button", { type: "button", class: "quiet", "aria-label": t("End token {title}", { title: row.label }), onclick: () => end(row) }, t("End")) },
    ],
    (row) => row.id,
  );
  async function show() {
    const found = await request("tokens");
    if (!signal.aborted) table.show(found, t("No tokens"));
  }
  async function end(row) {
    await request(`tokens/${encodeURIComponent(row.id)}`, { method: "DELETE" });
    await show();
  }
  const title = el("input", { type: "text", required: true, maxlength: 100 });
  const days = el("input", { type: "number", min: 1, max: 366, value: 90, required: true });
  const given = app.session.permissions.filter((each) => each !== "users");
  const boxes = given.map((each) => el("input", { type: "checkbox", value: each, checked: each === "read" }));
  const choice = el("fieldset", { class: "choices" }, el("legend", { class: "unseen" }, t("May")), ...boxes.map((box, i) => el("label", {}, box, ` ${t(given[i])} `)));
  show();
  return panel(t("Tokens for programs"), [
    table.node,
    form([[t("For"), title], [t("Days"), days], [t("May"), choice]], t("Make token"), async () => {
      const made = await post("tokens", { label: title.value.trim(), days: Number(days.value), rights: boxes.filter((box) => box.checked).map((box) => box.value) });
      setText(secret, made.secret);
      secret.hidden = false;
      await show();
      return t("Copy it now: it is not shown again. Send it as Authorization: Bearer TOKEN.");
    }),
    el("div", { class: "pad" }, secret),
  ]);
}
