// Signs in with a password, or exchanges the one-time token, which leaves the address bar and the history at once.

import { enter } from "/static/enter.js";

const asked = location.search;
const form = document.getElementById("form");
const byToken = document.getElementById("by-token");
const message = document.getElementById("message");

// Back to the page that was asked for; only ever to one of this console.
function target() {
  const next = new URLSearchParams(asked).get("next") ?? "/";
  return /^\/(?![/\\])/.test(next) ? next : "/";
}

async function signIn(body, field) {
  message.hidden = true;
  message.textContent = await enter("/api/v1/session", body, target());
  message.hidden = message.textContent === "";
  field.value = "";
  field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, password } = form.elements;
  signIn({ name: name.value.trim(), password: password.value }, password);
});

byToken.addEventListener("submit", (event) => {
  event.preventDefault();
  const { token } = byToken.elements;
  signIn({ token: token.value.trim() }, token);
});

const given = new URLSearchParams(location.search).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  signIn({ token: given }, byToken.elements.token);
}
