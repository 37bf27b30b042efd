// The trades as they come, newest first. The side is told by a triangle and a word for screen readers, not by colour alone.
import { byId, make, write } from "../dom.ts";
import { clockNs, grouped, padded, rate } from "../format.ts";
import type { Trade } from "../protocol.ts";

const ROWS = 200;
const SIDES = { buy: ["▲", "buy"], sell: ["▼", "sell"] } as const;

function rowOf(trade: Trade, digits: number): HTMLTableRowElement {
  const [sign, side] = trade.aggressor === null ? ["◆", "side unknown"] : SIDES[trade.aggressor];
  return make(
    "tr",
    { "data-side": trade.aggressor ?? "none" },
    make("td", { class: "time" }, clockNs(trade.ts_event_ns)),
    make("td", { class: "side" }, make("span", { "aria-hidden": "true" }, sign), make("span", { class: "unseen" }, side)),
    make("td", { class: "number" }, padded(trade.price, digits)),
    make("td", { class: "number" }, grouped(trade.quantity)),
  );
}

export class Tape {
  readonly #body = byId("tape", HTMLTableSectionElement);
  readonly #legend = byId("tape-legend", HTMLElement);
  /** Digits of a price behind the point. */
  digits = 0;
  #fresh: Trade[] = [];

  clear(): void {
    this.#fresh = [];
    this.#body.replaceChildren();
  }

  add(trades: readonly Trade[]): void {
    this.#fresh.push(...trades.slice(-ROWS));
    if (this.#fresh.length > ROWS) this.#fresh.splice(0, this.#fresh.length - ROWS);
  }

  show(): void {
    if (this.#fresh.length === 0) return;
    this.#body.prepend(...this.#fresh.reverse().map((trade) => rowOf(trade, this.digits)));
    this.#fresh = [];
    while (this.#body.rows.length > ROWS) this.#body.lastElementChild?.remove();
  }

  speed(perSecond: number | null): void {
    write(this.#legend, perSecond === null ? "" : `${rate(perSecond)} a second`);
  }
}
