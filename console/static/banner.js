// The announcements: always one line, so that the picture below stays where it is. The newest is told in full; the
// others unfold over the page.

import { el, setText, time } from "/static/dom.js";
import { t } from "/static/i18n.js";
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
    setText(this.text, this.newest?.text ?? t("No announcements"));
    this.text.title = this.newest?.text ?? "";
    const more = announcements.length - 1;
    this.more.hidden = more < 1;
    if (more < 1) this.more.open = false;
    setText(this.count, t("and {count} more", { count: more }));
    this.list.replaceChildren(
      ...announcements.toReversed().map((made) =>
        el("li", {}, time(made.t), el("span", {}, made.text)),
      ),
    );
    this.tick();
  }

  tick() {
    if (this.newest === null) {
      setText(this.when, "");
      return;
    }
    const made = this.newest.t;
    this.when.title = utcDateTime(made);
    setText(this.when, `${localDateTime(made)}, ${t("{age} ago", { age: age(this.live.now() - made) })}`);
  }
}
