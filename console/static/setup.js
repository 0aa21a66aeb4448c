// Makes the first user. The token leaves the address bar and the history at once.

import { enter } from "/static/enter.js";

const form = document.getElementById("form");
const fields = form.elements;
const message = document.getElementById("message");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (fields.password.value !== fields.again.value) {
    message.textContent = "The two passwords differ.";
    message.hidden = false;
    fields.again.focus();
    return;
  }
  const token = fields.token.value.trim();
  const body = { token, name: fields.name.value.trim(), password: fields.password.value };
  message.hidden = true;
  message.textContent = await enter("/api/v1/setup", body);
  message.hidden = message.textContent === "";
});

const given = new URLSearchParams(location.search).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  fields.token.value = given;
  fields.name.focus();
}
