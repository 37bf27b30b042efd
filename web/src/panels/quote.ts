// One line of figures for the instrument: last price with the day's change, and the day so far.
import type { Stats } from "../api.ts";
import { byId, fact, mark, write } from "../dom.ts";
import { NONE, count, grouped, price } from "../format.ts";

const text = (value: string | null | undefined): string => (value === null || value === undefined ? NONE : grouped(value));

export class Quote {
  readonly #facts = {
    last: fact("Last"), change: fact("Day"), high: fact("High"), low: fact("Low"),
    vwap: fact("VWAP", "Volume-weighted average price of the day"), volume: fact("Volume"), trades: fact("Trades"),
  };
  #digits = 2;

  constructor() {
    const { last } = this.#facts;
    last.node.classList.add("last");
    byId("quote", HTMLElement).append(...Object.values(this.#facts).map(({ node }) => node));
  }

  use(digits: number): void {
    this.#digits = digits;
    for (const { value } of Object.values(this.#facts)) write(value, NONE);
  }

  last(at: string): void {
    write(this.#facts.last.value, price(Number(at), this.#digits));
  }

  stats(stats: Stats): void {
    const { last, change, high, low, vwap, volume, trades } = this.#facts;
    const number = (value: string | null): string => (value === null ? NONE : price(Number(value), this.#digits));
    write(last.value, number(stats.last));
    write(high.value, number(stats.high));
    write(low.value, number(stats.low));
    write(vwap.value, number(stats.vwap));
    write(volume.value, text(stats.volume));
    write(trades.value, count(stats.trades));
    const first = Number(stats.first ?? Number.NaN);
    const moved = Number(stats.last ?? Number.NaN) - first;
    const known = Number.isFinite(moved) && first !== 0;
    const arrow = moved > 0 ? "▲" : moved < 0 ? "▼" : "";
    write(change.value, known ? `${arrow} ${moved >= 0 ? "+" : "−"}${Math.abs((moved / first) * 100).toFixed(2)}%` : NONE);
    mark(change.node, "data-side", moved > 0 ? "buy" : moved < 0 ? "sell" : "none");
  }
}
