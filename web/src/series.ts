// Bars and VPIN buckets in order, from history, live messages and trades. Bounded; knows nothing of charts.
import type { Bar, Trade, VpinBucket } from "./protocol.ts";

export interface Candle {
  /** Seconds since 1970, when it opened. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
}

export const CANDLES_MAX = 3_000;
export const BUCKETS_MAX = 2_000;

export const INTERVALS = { "1s": 1, "1m": 60, "5m": 300, "1h": 3600 } as const;
export type Interval = keyof typeof INTERVALS;

/** Completed bars of which interval make up the candle that forms; the shortest has only trades. */
export const FINER: Readonly<Record<Interval, Interval | null>> = { "1s": null, "1m": "1s", "5m": "1m", "1h": "1m" };

export function isInterval(text: string): text is Interval {
  return text in INTERVALS;
}

export function candle(bar: Bar): Candle {
  return {
    time: Math.floor(bar.ts_open_ns / 1e9),
    open: Number(bar.open),
    high: Number(bar.high),
    low: Number(bar.low),
    close: Number(bar.close),
    volume: Number(bar.volume),
  };
}

/** Completed candles in order of time, the one that forms, and what of them changed since it was last drawn. */
export class Candles {
  readonly completed: Candle[] = [];
  forming: Candle | null = null;
  readonly #seconds: number;
  #changedFrom = Number.NEGATIVE_INFINITY;
  /** Trades before this second are in the candle that forms already. */
  #formedTo = 0;

  constructor(interval: Interval) {
    this.#seconds = INTERVALS[interval];
  }

  /** Takes older bars from history under those that are already here. */
  merge(bars: readonly Bar[]): void {
    const byTime = new Map(bars.map((bar) => [Math.floor(bar.ts_open_ns / 1e9), candle(bar)]));
    for (const known of this.completed) byTime.set(known.time, known);
    const merged = [...byTime.values()].sort((a, b) => a.time - b.time).slice(-CANDLES_MAX);
    this.completed.splice(0, this.completed.length, ...merged);
    this.#settled(Number.NEGATIVE_INFINITY);
  }

  /** Takes a snapshot of the newest bars. What is here and later comes from before the source started over. */
  replace(bars: readonly Bar[]): void {
    const last = bars.at(-1);
    if (last !== undefined) this.#forgetFrom(Math.floor(last.ts_open_ns / 1e9) + 1);
    this.merge(bars);
  }

  /** Takes a completed bar. Time that goes back means that the source starts over: what came later is forgotten. */
  complete(bar: Bar): void {
    const next = candle(bar);
    const last = this.completed.at(-1);
    if (last !== undefined && next.time < last.time) this.seed([]);
    if (last !== undefined && next.time <= last.time) this.#forgetFrom(next.time);
    this.completed.push(next);
    if (this.completed.length > CANDLES_MAX) this.completed.shift();
    this.#settled(next.time);
  }

  /** Begins the candle that forms from completed bars of a finer interval. */
  seed(finer: readonly Bar[]): void {
    if (this.forming !== null) this.invalidate();
    this.forming = null;
    this.#formedTo = 0;
    for (const bar of finer) {
      this.#form(candle(bar));
      this.#formedTo = Math.floor(bar.ts_close_ns / 1e9);
    }
  }

  /** Adds a trade to the candle that forms. Trades of completed candles are in those already. */
  trade(trade: Trade): void {
    const time = Math.floor(trade.ts_event_ns / 1e9);
    if (time < this.#formedTo) return;
    const price = Number(trade.price);
    this.#form({ time, open: price, high: price, low: price, close: price, volume: Number(trade.quantity) });
  }

  #form(piece: Candle): void {
    const time = piece.time - (piece.time % this.#seconds);
    const last = this.completed.at(-1);
    if (last !== undefined && time <= last.time) return;
    const forming = this.forming;
    if (forming === null || forming.time < time) {
      this.forming = { ...piece, time };
    } else if (forming.time === time) {
      forming.high = Math.max(forming.high, piece.high);
      forming.low = Math.min(forming.low, piece.low);
      forming.close = piece.close;
      forming.volume += piece.volume;
    } else {
      return;
    }
    this.#changedFrom = Math.min(this.#changedFrom, time);
  }

  all(): Candle[] {
    return this.forming === null ? [...this.completed] : [...this.completed, this.forming];
  }

  last(): Candle | null {
    return this.forming ?? this.completed.at(-1) ?? null;
  }

  /** Everything is to be drawn anew, for example in other colours. */
  invalidate(): void {
    this.#changedFrom = Number.NEGATIVE_INFINITY;
  }

  /** What a chart that ends at `drawnTo` must draw anew: candles to put at its end, or null for everything. */
  changes(drawnTo: number): Candle[] | null {
    const from = this.#changedFrom;
    this.#changedFrom = Number.POSITIVE_INFINITY;
    if (from < drawnTo) return null;
    const first = this.completed.findLastIndex((known) => known.time < from) + 1;
    const tail = this.completed.slice(first);
    return this.forming === null ? tail : [...tail, this.forming];
  }

  #forgetFrom(time: number): void {
    const keep = this.completed.findIndex((known) => known.time >= time);
    if (keep < 0) return;
    this.completed.length = keep;
    this.#formedTo = 0;
    this.invalidate();
  }

  /** Completed candles changed from this time on; one that formed until now is among them. */
  #settled(from: number): void {
    this.#changedFrom = Math.min(this.#changedFrom, from);
    const last = this.completed.at(-1);
    if (this.forming === null || last === undefined || this.forming.time > last.time) return;
    // It was drawn, and no completed bar takes its place.
    if (this.forming.time < last.time) this.invalidate();
    this.forming = null;
  }
}

/** VPIN buckets of one classification by number. */
export class Buckets {
  readonly list: VpinBucket[] = [];

  /** Takes older buckets from history under those that are already here. */
  merge(buckets: readonly VpinBucket[]): void {
    const byNumber = new Map(buckets.map((bucket) => [bucket.bucket, bucket]));
    for (const known of this.list) byNumber.set(known.bucket, known);
    const merged = [...byNumber.values()].sort((a, b) => a.bucket - b.bucket).slice(-BUCKETS_MAX);
    this.list.splice(0, this.list.length, ...merged);
  }

  /** Takes the next bucket. One that is known already replaces it, and with `restart` all behind it are forgotten:
   * the engine starts over when its source does. */
  add(bucket: VpinBucket, restart: boolean): void {
    const last = this.list.at(-1);
    if (last === undefined || bucket.bucket > last.bucket) {
      this.list.push(bucket);
      if (this.list.length > BUCKETS_MAX) this.list.shift();
      return;
    }
    const index = this.list.findIndex((known) => known.bucket >= bucket.bucket);
    if (restart) {
      this.list.length = index;
      this.list.push(bucket);
    } else if (this.list[index]?.bucket === bucket.bucket) {
      this.list[index] = bucket;
    }
  }
}

/** The newest `limit` of what was pushed, oldest first. */
export class Ring<T> {
  readonly items: T[] = [];
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(...values: T[]): void {
    this.items.push(...values.slice(-this.#limit));
    if (this.items.length > this.#limit) this.items.splice(0, this.items.length - this.#limit);
  }
}
