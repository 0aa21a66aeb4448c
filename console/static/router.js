// Addresses within the page. Links are ordinary links: they can be opened in a tab, kept and sent on.

export class Router {
  // routes: [pattern, show]; show gets the named parts of the address and the query.
  constructor(routes, onChange) {
    this.routes = routes;
    this.onChange = onChange;
    document.addEventListener("click", (event) => this.clicked(event));
    addEventListener("popstate", () => this.show());
  }

  clicked(event) {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target.closest?.("a[href]");
    if (!link || link.target || link.hasAttribute("download")) return;
    const to = new URL(link.href, location.href);
    if (to.origin !== location.origin || to.hash || !this.find(to.pathname)) return;
    event.preventDefault();
    this.go(to.pathname + to.search);
  }

  go(address) {
    if (address !== location.pathname + location.search) history.pushState(null, "", address);
    this.show();
  }

  // Changes the address without leaving the page, for example when a trend is moved.
  note(address) {
    history.replaceState(null, "", address);
  }

  find(path) {
    for (const [pattern, page] of this.routes) {
      const found = pattern.exec(path);
      if (!found) continue;
      // a part that the address leaves out is not there
      const named = Object.entries(found.groups ?? {}).filter(([, part]) => part !== undefined);
      return { page, parts: Object.fromEntries(named.map(([name, part]) => [name, decodeURIComponent(part)])) };
    }
    return null;
  }

  show() {
    const found = this.find(location.pathname);
    this.onChange(found, new URLSearchParams(location.search));
  }
}
