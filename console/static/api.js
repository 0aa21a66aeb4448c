// The HTTP API. A session that is over leads to the sign-in page.

export class ApiProblem extends Error {
  constructor(status, error, fix) {
    super(fix ? `${error}: ${fix}` : error);
    this.status = status;
  }
}

// A question that a timer asks says so: it does not keep an unattended session open.
export async function request(path, { background = false, ...options } = {}) {
  const headers = { ...options.headers, ...(background ? { "x-background": "1" } : {}) };
  const response = await fetch(`/api/v1/${path}`, { ...options, headers });
  if (response.status === 401) {
    location.replace(`/signin?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
  if (!response.ok) {
    let problem = { error: `answer ${response.status}`, fix: "" };
    try {
      problem = await response.json();
    } catch {
      // not JSON: something in between answered; the status says enough
    }
    throw new ApiProblem(response.status, problem.error, problem.fix);
  }
  return response.status === 204 ? null : response.json();
}

export function post(path, body) {
  return request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
}
