// The announcements: always one line, so that the picture below stays where it is. The newest is told in full; the
// others unfold over the page.

import { el, setText } from "/static/dom.js";
import { age, localDateTime, utcDateTime } from "/static/format.js";

export class Banner {
  constructor(live) {
    this.live = live;
    this.newest = null;
    this.text = el("span", { class: "text" });
    this.when = el("time", {});
    this.count = el("summary", {});
    this.list = el("ol", {});
    this.more = el("details", { hidden: true }, this.count, this.list);
    this.root = document.getElementById("banner");
    // the age changes all the time: only the text itself is read out
    this.root.append(el("p", { role: "status" }, this.text), this.when, this.more);
    this.show([]);
  }

  // Announcements in the order in which they were made.
  show(announcements) {
    this.newest = announcements.at(-1) ?? null;
    this.root.classList.toggle("empty", this.newest === null);
    setText(this.text, this.newest?.text ?? "No announcements");
    this.text.title = this.newest?.text ?? "";
    const more = announcements.length - 1;
    this.more.hidden = more < 1;
    if (more < 1) this.more.open = false;
    setText(this.count, `and ${more} more`);
    this.list.replaceChildren(
      ...announcements.toReversed().map(({ t, text }) =>
        el("li", {}, el("time", { title: utcDateTime(t) }, localDateTime(t)), el("span", {}, text)),
      ),
    );
    this.tick();
  }

  tick() {
    if (this.newest === null) {
      setText(this.when, "");
      return;
    }
    const { t } = this.newest;
    this.when.title = utcDateTime(t);
    setText(this.when, `${localDateTime(t)}, ${age(this.live.now() - t)} ago`);
  }
}
