// Says how old the figures are, and plainly when they are too old or of one process alone.
import { $, fill, make } from "./dom.js";
import { ago } from "./format.js";

const OLD = 12; // seconds

export class Freshness {
  constructor(links) {
    this.links = links;
    this.at = null; // of the last figures, by the clock of this page
    this.began = performance.now();
    this.error = null;
    this.incomplete = null;
    this.paused = false;
    setInterval(() => this.show(), 1000);
  }

  arrived(report) {
    this.at = performance.now();
    this.error = null;
    this.incomplete = report.complete ? null : report.incomplete_because;
    this.show();
  }

  failed(error) {
    this.error = error;
    this.show();
  }

  pause(paused) {
    this.paused = paused;
    this.show();
  }

  show() {
    const age = this.at === null ? null : (performance.now() - this.at) / 1000;
    const old = this.error !== null || (!this.paused && (age ?? (performance.now() - this.began) / 1000) > OLD);
    document.body.classList.toggle("is-old", old);
    document.body.classList.toggle("is-paused", this.paused);
    document.body.classList.toggle("is-live", !old && !this.paused && this.at !== null);
    const when = age === null ? "no figures yet" : `updated ${ago(age)}`;
    $("freshness").textContent = this.paused ? `paused, ${when}` : when;
    this.complain(old, age);
  }

  complain(old, age) {
    const trouble = $("trouble");
    const since = age === null ? "There are no figures yet" : `These figures are ${Math.floor(age)} s old`;
    const told = [];
    if (this.error !== null) told.push(`${since}: ${this.error.message}. Trying again by itself.`);
    else if (old) told.push(`${since}. Waiting for the service.`);
    else if (this.incomplete !== null) told.push(`These figures are not of all processes. ${sentence(this.incomplete)}`);
    if (this.links.login && [401, 403].includes(this.error?.status)) told.push(" ", make("a", { href: this.links.login }, "Log in"));
    trouble.classList.toggle("mild", !old);
    fill(trouble, ...told);
    trouble.hidden = told.length === 0;
  }
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
