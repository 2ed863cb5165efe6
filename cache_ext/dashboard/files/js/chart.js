// One chart of the last hour: a uPlot with a legend that follows the pointer.
import { make } from "./dom.js";
import { clock } from "./format.js";

const HEIGHT_OF_AXIS = 26;

const LOGARITHMIC = 3; // uPlot's number for it
const round = (text) => text.replace(/\.0+(?=\D|$)/, "");
const decades = (_, low, high) => [10 ** Math.floor(Math.log10(low || 0.001)), 10 ** Math.ceil(Math.log10((high || 0.001) * 1.01))];
const powers = (_, __, low, high) => {
  const found = [];
  for (let power = Math.round(Math.log10(low)); power <= Math.round(Math.log10(high)); power += 1) found.push(10 ** power);
  return found;
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export class Chart {
  // series: [{ name, colour, of: minute -> number|null }]; stacked ones lie on those that follow.
  constructor(figure, { title, series, format, stacked = false, range = null, fill = false }) {
    Object.assign(this, { series, format, stacked, range, fill, minutes: [], plot: null }); // no range: by powers of ten
    this.values = series.map(() => make("b", {}, "–"));
    const legend = make("ul", { class: "legend" }, ...series.map((each, number) =>
      make("li", {}, make("span", { class: `swatch ${each.colour}`, "aria-hidden": "true" }), each.name, this.values[number])));
    this.when = make("small", {});
    this.canvas = make("div", { class: "plot", role: "img", "aria-label": title });
    this.title = title;
    figure.append(make("figcaption", { class: "charthead" }, make("h2", {}, title, this.when), legend), this.canvas);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.canvas);
    addEventListener("theme", () => this.draw());
  }

  show(minutes) {
    this.minutes = minutes;
    if (this.plot) this.plot.setData(this.data());
    else this.draw();
    this.tell(this.plot.cursor.idx ?? null);
  }

  size() {
    return { width: Math.max(120, this.canvas.clientWidth), height: this.canvas.clientHeight };
  }

  raw() {
    return this.series.map((each) => this.minutes.map(each.of));
  }

  data() {
    const rows = this.raw();
    if (this.stacked) { // the first is the sum of all, and is drawn first, behind the others
      for (let row = rows.length - 2; row >= 0; row -= 1) rows[row] = rows[row].map((value, at) => value + rows[row + 1][at]);
    }
    return [this.minutes.map((minute) => minute.at), ...rows];
  }

  draw() {
    if (this.minutes.length === 0) return;
    this.plot?.destroy();
    const axis = { stroke: colour("ink-3"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: colour("grid"), width: 1 } };
    const upright = { ...axis, size: 58, gap: 6, space: 30, values: (_, splits) => splits.map((value) => round(this.format(value))) };
    this.plot = new uPlot({
      ...this.size(),
      padding: [6, 8, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: "minutes" }, y: false, drag: { x: false, y: false }, points: { size: 7 } },
      scales: { y: this.range ? { range: this.range } : { distr: LOGARITHMIC, range: decades } },
      axes: [
        { ...axis, size: HEIGHT_OF_AXIS, gap: 4, grid: { show: false }, space: 64, values: (_, splits) => splits.map(clock) },
        this.range ? upright : { ...upright, splits: powers, filter: (_, splits) => splits },
      ],
      series: [{}, ...this.series.map((each) => ({
        label: each.name, stroke: colour(each.colour), width: this.stacked ? 1 : 2, points: { show: false },
        fill: this.stacked || this.fill ? colour(`${each.colour}-fill`) : undefined,
      }))],
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx ?? null)] },
    }, this.data(), this.canvas);
  }

  tell(index) {
    const at = index ?? this.minutes.length - 1;
    const minute = this.minutes[at];
    if (!minute) return;
    this.when.textContent = index === null ? "" : `at ${clock(minute.at)}`;
    this.series.forEach((each, number) => {
      const value = each.of(minute);
      this.values[number].textContent = this.format(value);
    });
    if (index === null) {
      const told = this.series.map((each) => `${each.name} ${this.format(each.of(minute))}`);
      this.canvas.setAttribute("aria-label", `${this.title}, last hour; now: ${told.join(", ")}`);
    }
  }
}
