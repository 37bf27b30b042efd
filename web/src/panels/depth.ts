// Quantity within reach of each price, as two mountains around the mid.
import uPlot from "uplot";
import { depth, type Book } from "../book.ts";
import { byId, mark, write } from "../dom.ts";
import { count, price } from "../format.ts";
import { faint, palette } from "../theme.ts";
import { Plot, axis, type Options } from "./plot.ts";

const LEVELS = 60;

export class Depth {
  readonly #place = byId("depth", HTMLElement);
  readonly #legend = byId("depth-legend", HTMLElement);
  readonly #plot: Plot;
  digits = 2;

  constructor() {
    this.#plot = new Plot(this.#place, () => this.#options());
  }

  show(book: Book | null): void {
    const points = book === null ? [] : depth(book.bids, book.asks, LEVELS);
    this.#plot.set([points.map((point) => point.price), points.map((point) => point.bids), points.map((point) => point.asks)]);
    const bids = points.find((point) => point.bids !== null)?.bids ?? null;
    const asks = points.at(-1)?.asks ?? null;
    const text = bids === null || asks === null ? "" : `bids ${count(bids)} · asks ${count(asks)}`;
    write(this.#legend, text);
    mark(this.#place, "aria-label", `Cumulative depth: ${text === "" ? "no two-sided book" : text}`);
  }

  #options(): Options {
    const stepped = (align: 1 | -1): uPlot.Series.PathBuilder | undefined => uPlot.paths.stepped?.({ align });
    const series = (name: string, colour: string, align: 1 | -1): uPlot.Series => {
      const paths = stepped(align);
      return {
        label: name, stroke: colour, fill: faint(colour, 0.18), width: 1.5, points: { show: false },
        ...(paths === undefined ? {} : { paths }),
      };
    };
    return {
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: (_u, _low, high) => [0, Math.max(1, high * 1.05)] } },
      axes: [
        axis({ size: 26, space: 70, values: (_u, splits) => splits.map((value) => price(value, this.digits)) }),
        axis({ values: (_u, splits) => splits.map((value) => count(value)) }),
      ],
      series: [{}, series("bids", palette.buy, -1), series("asks", palette.sell, 1)],
      hooks: { setCursor: [(u) => this.#hover(u)] },
    };
  }

  #hover(u: uPlot): void {
    const index = u.cursor.idx;
    if (index === null || index === undefined) return;
    const at = u.data[0][index];
    const quantity = u.data[1]?.[index] ?? u.data[2]?.[index];
    if (at !== undefined) write(this.#legend, `${price(at, this.digits)}: ${count(quantity)}`);
  }
}
