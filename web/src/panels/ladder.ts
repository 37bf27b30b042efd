// The order book as a ladder: twenty levels a side around the spread, bars for quantity, the touch emphasised.
import type { Book, Level } from "../book.ts";
import { byId, make, mark, write } from "../dom.ts";
import { NONE, count, grouped, padded, price } from "../format.ts";

const LEVELS = 20;

interface Row {
  row: HTMLTableRowElement;
  orders: HTMLElement;
  price: HTMLElement;
  quantity: HTMLElement;
  bar: HTMLElement;
}

function rowOf(side: "bid" | "ask"): Row {
  const orders = make("td", { class: "orders" });
  const quantity = make("span");
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  const price = make("th", { scope: "row", class: "price" });
  const cell = make("td", { class: side }, bar, quantity);
  const cells = side === "bid" ? [orders, cell, price, make("td"), make("td")] : [make("td"), make("td"), price, cell, orders];
  return { row: make("tr", { "data-side": side }, ...cells), orders, price, quantity, bar };
}

function fill(row: Row, level: Level | undefined, largest: number, digits: number): void {
  write(row.price, level === undefined ? "" : padded(level.priceText, digits));
  write(row.quantity, level === undefined ? "" : grouped(level.quantityText));
  write(row.orders, level === undefined ? "" : String(level.orders));
  const share = level === undefined ? 0 : level.quantity / largest;
  row.bar.style.transform = `scaleX(${share.toFixed(3)})`;
}

export class Ladder {
  readonly #asks: readonly Row[];
  readonly #bids: readonly Row[];
  readonly #spread = make("td", { colspan: "5" });
  readonly #totals = byId("book-totals", HTMLElement);
  readonly #table = byId("ladder", HTMLTableElement);

  constructor() {
    this.#asks = Array.from({ length: LEVELS }, () => rowOf("ask"));
    this.#bids = Array.from({ length: LEVELS }, () => rowOf("bid"));
    this.#asks[0]?.row.classList.add("touch");
    this.#bids[0]?.row.classList.add("touch");
    byId("ladder-rows", HTMLTableSectionElement).append(
      ...[...this.#asks].reverse().map(({ row }) => row),
      make("tr", { class: "spread" }, this.#spread),
      ...this.#bids.map(({ row }) => row),
    );
    this.show(null);
  }

  show(book: Book | null, digits = 0): void {
    const asks = book?.asks.slice(0, LEVELS) ?? [];
    const bids = book?.bids.slice(0, LEVELS) ?? [];
    const largest = Math.max(1e-9, ...asks.map(({ quantity }) => quantity), ...bids.map(({ quantity }) => quantity));
    this.#asks.forEach((row, index) => fill(row, asks[index], largest, digits));
    this.#bids.forEach((row, index) => fill(row, bids[index], largest, digits));
    const spread = book?.spread() ?? null;
    const crossed = spread !== null && spread < 0 ? " · crossed" : "";
    write(this.#spread, `spread ${price(spread, digits)} · mid ${price(book?.mid(), digits + 1)}${crossed}`);
    mark(this.#table, "data-state", book?.state ?? "none");
    write(this.#totals, book === null ? NONE : `${count(book.bids.length)} / ${count(book.asks.length)} levels`);
  }
}
