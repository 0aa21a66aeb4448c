// Asks to be let in; what is wrong comes back as text, otherwise the console opens.

export async function enter(path, body, target = "/") {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (response.ok) {
      location.replace(target);
      return "";
    }
    const problem = await response.json();
    return `${problem.error}: ${problem.fix}.`;
  } catch {
    return "The server does not answer. Is it running?";
  }
}
