// A sound for alarms that nobody has acknowledged: off until somebody switches it on, because a browser lets nothing
// sound before that. Urgent ones sound higher and more often.

import { setText } from "/static/dom.js";
import { t } from "/static/i18n.js";
import { PRIORITIES } from "/static/priority.js";

const KEY = "greenbridge-sound";
const TONES = { urgent: [880, 3, 3000], high: [660, 2, 6000], medium: [440, 1, 15_000], low: [330, 1, 30_000] };

export class Sound {
  constructor(store) {
    this.store = store;
    this.context = null;
    this.timer = null;
    this.button = document.getElementById("sound");
    this.button.addEventListener("click", () => this.toggle());
    this.on = localStorage.getItem(KEY) === "on";
    store.addEventListener("change", () => this.ring());
    this.show();
  }

  toggle() {
    this.on = !this.on;
    localStorage.setItem(KEY, this.on ? "on" : "off");
    this.context ??= new AudioContext();
    if (this.on) this.context.resume();
    this.show();
    this.ring();
  }

  show() {
    this.button.setAttribute("aria-pressed", String(this.on));
    setText(this.button, this.on ? t("Sound on") : t("Sound off"));
  }

  // Rings for the worst alarm that waits, again and again until none does.
  ring() {
    clearTimeout(this.timer);
    const waiting = this.store.alarms.filter((alarm) => alarm.state === "unacknowledged");
    const worst = PRIORITIES.find((priority) => waiting.some((alarm) => alarm.priority === priority));
    if (!this.on || !worst) return;
    const [pitch, times, every] = TONES[worst];
    this.context ??= new AudioContext();
    for (let i = 0; i < times; i += 1) this.beep(pitch, this.context.currentTime + i * 0.28);
    this.timer = setTimeout(() => this.ring(), every);
  }

  beep(pitch, at) {
    const tone = new OscillatorNode(this.context, { frequency: pitch });
    const volume = new GainNode(this.context, { gain: 0 });
    volume.gain.setTargetAtTime(0.25, at, 0.01);
    volume.gain.setTargetAtTime(0, at + 0.16, 0.02);
    tone.connect(volume).connect(this.context.destination);
    tone.start(at);
    tone.stop(at + 0.3);
  }
}
