// Exchanges the one-time token for a session. The token leaves the address bar and the history at once.

const asked = location.search;
const form = document.getElementById("form");
const field = document.getElementById("token");
const message = document.getElementById("message");

// Back to the page that was asked for; only ever to one of this console.
function target() {
  const next = new URLSearchParams(asked).get("next") ?? "/";
  return /^\/(?![/\\])/.test(next) ? next : "/";
}

async function signIn(token) {
  message.hidden = true;
  try {
    const response = await fetch("/api/v1/session", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ token }),
    });
    if (response.ok) {
      location.replace(target());
      return;
    }
    const problem = await response.json();
    message.textContent = `${problem.error}: ${problem.fix}.`;
  } catch {
    message.textContent = "The server does not answer. Is it running?";
  }
  message.hidden = false;
  field.value = "";
  field.focus();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(field.value.trim());
});

const given = new URLSearchParams(location.search).get("token");
if (given) {
  history.replaceState(null, "", location.pathname);
  field.value = given;
  signIn(given);
}
