// Asks again and again: every few seconds, later and later while it fails, not at all while nobody looks.
import { ask } from "./api.js";

const SLOWEST = 15_000; // ms

export class Poll {
  constructor(url, every, { data, failure }) {
    Object.assign(this, { url, every, data, failure, timer: 0, asking: false, failed: 0, paused: false });
    document.addEventListener("visibilitychange", () => this.resume());
    addEventListener("online", () => this.resume());
  }

  resume() { // at once, if somebody looks
    clearTimeout(this.timer);
    if (!this.paused && !document.hidden) this.round();
  }

  pause(paused) {
    this.paused = paused;
    this.resume();
  }

  async round() {
    if (this.asking) return;
    this.asking = true;
    try {
      const { found } = await ask(this.url);
      this.failed = 0;
      this.data(found);
    } catch (error) {
      this.failed += 1;
      if (error.status === undefined) console.error(error); // a mistake in this program
      this.failure(error);
    } finally {
      this.asking = false;
      clearTimeout(this.timer);
      if (!this.paused && !document.hidden) {
        this.timer = setTimeout(() => this.round(), Math.min(SLOWEST, this.every * 1.6 ** Math.min(this.failed, 6)));
      }
    }
  }
}
