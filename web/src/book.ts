// The order book of one instrument, kept from a snapshot and changes, and the checksum that proves it.
import { crc32 } from "./crc32.ts";
import type { BookData, BookState, WireLevel } from "./protocol.ts";

export interface Level {
  /** As sent: what the checksum is over. */
  priceText: string;
  quantityText: string;
  price: number;
  quantity: number;
  orders: number;
}

/** Levels kept per side; what lies further from the touch is let go. */
export const LEVELS_MAX = 10_000;
const CHECKSUM_LEVELS = 10;

class Side {
  /** Best first. */
  readonly levels: Level[] = [];
  readonly #sign: 1 | -1;

  constructor(side: "bid" | "ask") {
    this.#sign = side === "ask" ? 1 : -1;
  }

  /** Where the price stands or belongs: the first level that is not better. */
  #position(price: number): number {
    let low = 0;
    let high = this.levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const better = ((this.levels[middle]?.price ?? price) - price) * this.#sign < 0;
      if (better) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  set([priceText, quantityText, orders]: WireLevel): void {
    const price = Number(priceText);
    const quantity = Number(quantityText);
    const index = this.#position(price);
    const found = this.levels[index]?.price === price;
    if (quantity === 0) {
      if (found) this.levels.splice(index, 1);
      return;
    }
    const level: Level = { priceText, quantityText, price, quantity, orders };
    if (found) this.levels[index] = level;
    else this.levels.splice(index, 0, level);
    if (this.levels.length > LEVELS_MAX) this.levels.length = LEVELS_MAX;
  }

  clear(): void {
    this.levels.length = 0;
  }
}

export class Book {
  state: BookState = "syncing";
  sequence = 0;
  readonly #bids = new Side("bid");
  readonly #asks = new Side("ask");

  get bids(): readonly Level[] {
    return this.#bids.levels;
  }

  get asks(): readonly Level[] {
    return this.#asks.levels;
  }

  /** Takes a snapshot (`fresh`) or a change. False when the checksum says that this is not the server's book. */
  apply(data: BookData, fresh: boolean): boolean {
    if (fresh || data.cleared === true) {
      this.#bids.clear();
      this.#asks.clear();
    }
    for (const level of data.bids) this.#bids.set(level);
    for (const level of data.asks) this.#asks.set(level);
    this.state = data.state;
    this.sequence = data.sequence;
    return data.checksum === undefined || data.checksum === null || data.checksum === this.checksum();
  }

  /** CRC-32 of the ten best asks, then the ten best bids, best first, each `price:quantity|`. */
  checksum(): number {
    const texts = [...this.asks.slice(0, CHECKSUM_LEVELS), ...this.bids.slice(0, CHECKSUM_LEVELS)].map(
      (level) => `${level.priceText}:${level.quantityText}|`,
    );
    return crc32(texts.join(""));
  }

  /** Best ask less best bid, null while a side is empty. Negative when the book is crossed. */
  spread(): number | null {
    const bid = this.bids[0];
    const ask = this.asks[0];
    return bid === undefined || ask === undefined ? null : ask.price - bid.price;
  }

  mid(): number | null {
    const bid = this.bids[0];
    const ask = this.asks[0];
    return bid === undefined || ask === undefined ? null : (ask.price + bid.price) / 2;
  }
}

export interface DepthPoint {
  price: number;
  bids: number | null;
  asks: number | null;
}

/** Quantity within reach of each price, lowest price first; both sides cover the same distance from the mid, that of the
 * `levels`-th level, so that a stray order far away does not flatten the picture. */
export function depth(bids: readonly Level[], asks: readonly Level[], levels: number): DepthPoint[] {
  const bestBid = bids[0];
  const bestAsk = asks[0];
  if (bestBid === undefined || bestAsk === undefined) return [];
  const mid = (bestBid.price + bestAsk.price) / 2;
  const lastBid = bids[Math.min(levels, bids.length) - 1] ?? bestBid;
  const lastAsk = asks[Math.min(levels, asks.length) - 1] ?? bestAsk;
  const reach = Math.max(mid - lastBid.price, lastAsk.price - mid);
  const within = (level: Level): boolean => Math.abs(level.price - mid) <= reach;
  const left: DepthPoint[] = [];
  const right: DepthPoint[] = [];
  let total = 0;
  for (const level of bids) {
    if (!within(level)) break;
    total += level.quantity;
    left.push({ price: level.price, bids: total, asks: null });
  }
  total = 0;
  for (const level of asks) {
    if (!within(level)) break;
    total += level.quantity;
    right.push({ price: level.price, bids: null, asks: total });
  }
  return [...left.reverse(), ...right];
}
