// The instrument that is looked at: what it subscribes to, its book, candles and trades, and which panel each goes to.
import { api, type Instrument, type Stats, type VpinState } from "./api.ts";
import { Book } from "./book.ts";
import { byId, mark, throttled, write } from "./dom.ts";
import { tickDecimals } from "./format.ts";
import { CandleChart, intervalChoice } from "./panels/candles.ts";
import { Depth } from "./panels/depth.ts";
import { Ladder } from "./panels/ladder.ts";
import { Quote } from "./panels/quote.ts";
import type { Totals } from "./panels/rates.ts";
import { Tape } from "./panels/tape.ts";
import { Toxicity } from "./panels/toxicity.ts";
import type { Alert, Bar, BookData, Trade, VpinBucket } from "./protocol.ts";
import { Candles, FINER, type Interval } from "./series.ts";
import type { Receive, Stream, TopicOptions } from "./stream.ts";

/** How often the screen needs to know: ten times a second is as fast as a person reads. */
const CONFLATE_MS = 100;
const EARLY_MAX = 4_096;
const STATES: Record<string, string> = { live: "● live", syncing: "◐ syncing", stale: "✕ stale" };

export class Market {
  readonly totals: Totals = { trades: 0, events: 0 };
  readonly tape = new Tape();
  symbol: string | null = null;
  readonly #stream: Stream;
  readonly #ladder = new Ladder();
  readonly #depth = new Depth();
  readonly #quote = new Quote();
  readonly #chart = new CandleChart();
  readonly #toxicity = new Toxicity();
  readonly #state = byId("market-state", HTMLElement);
  #interval: Interval;
  #digits = 2;
  #book = new Book();
  #candles: Candles;
  /** The newest trade that is in the candles, by the hub's number. */
  #counted = 0;
  /** Trades that come while history is asked for wait here; null when it is there. */
  #early: Trade[] | null = null;
  #tradedAt: number | null = null;

  // However fast the stream, the screen is drawn at a reader's pace.
  readonly #drawBook = throttled(CONFLATE_MS, () => this.#showBook());
  readonly #drawDepth = throttled(2 * CONFLATE_MS, () => this.#depth.show(this.#book));
  readonly #drawCandles = throttled(CONFLATE_MS, () => this.#chart.show());
  readonly #drawTape = throttled(CONFLATE_MS, () => this.tape.show());

  constructor(stream: Stream) {
    this.#stream = stream;
    this.#interval = intervalChoice((interval) => {
      this.#interval = interval;
      if (this.symbol !== null) void this.#useCandles(this.symbol);
    });
    this.#candles = new Candles(this.#interval);
  }

  use({ symbol, tick_in_use: tick }: Instrument): void {
    this.symbol = symbol;
    this.#digits = tickDecimals(tick);
    this.#depth.digits = this.#digits;
    this.tape.digits = this.#digits;
    this.#quote.use(this.#digits);
    this.#book = new Book();
    this.#tradedAt = null;
    this.tape.clear();
    this.#drawBook();
    this.#drawDepth();
    void this.#toxicity.use(symbol);
    void this.#useCandles(symbol);
  }

  /** Whether the instrument traded a while ago: then there are statistics of it. */
  traded(): boolean {
    return this.#tradedAt !== null && performance.now() - this.#tradedAt > 1_000;
  }

  /** There are none although it traded: its source started over. Until it trades again there is nothing to ask for. */
  untraded(): null {
    this.#tradedAt = null;
    return null;
  }

  stats(stats: Stats): void {
    this.#quote.stats(stats);
  }

  vpin(state: VpinState | null): void {
    this.#toxicity.state(state);
  }

  #showBook(): void {
    this.#ladder.show(this.#book, this.#digits);
    write(this.#state, STATES[this.#book.state] ?? this.#book.state);
    mark(this.#state, "data-state", this.#book.state);
  }

  /** Candles of another instrument or interval: history first, then what the stream brings. */
  async #useCandles(symbol: string): Promise<void> {
    const candles = new Candles(this.#interval);
    const finer = FINER[this.#interval];
    this.#candles = candles;
    this.#early = [];
    this.#chart.use(candles, this.#digits);
    this.#follow(symbol);
    const [bars, pieces, trades] = await Promise.all([
      api.bars(symbol, this.#interval).catch(() => []),
      finer === null ? [] : api.bars(symbol, finer).catch(() => []),
      api.trades(symbol).catch(() => []),
    ]);
    if (this.#candles !== candles) return;
    candles.merge(bars);
    candles.seed(pieces);
    this.#counted = 0;
    const early = this.#early ?? [];
    this.#early = null;
    this.#count(trades);
    this.#count(early);
    this.#drawCandles();
  }

  #follow(symbol: string): void {
    const topic = (receive: Receive, more: Partial<TopicOptions> = {}): { options: TopicOptions; receive: Receive } => ({
      options: { conflate_ms: CONFLATE_MS, ...more }, receive,
    });
    this.#stream.follow(
      "market",
      new Map([
        [`books.${symbol}`, topic((data, how) => this.#onBook(data as BookData, how === "snapshot"), { checksum: true })],
        [`trades.${symbol}`, topic((data, how) => this.#onTrades((data as { trades: Trade[] }).trades, how))],
        [`bars.${symbol}.${this.#interval}`, topic((data, how) => this.#onBars((data as { bars: Bar[] }).bars, how === "snapshot"))],
        [`vpin.${symbol}`, topic((data, how) => this.#toxicity.add((data as { buckets: VpinBucket[] }).buckets, how === "update"))],
        [`alerts.${symbol}`, topic((data) => this.#onAlerts((data as { alerts: Alert[] }).alerts))],
      ]),
    );
  }

  #onBook(data: BookData, fresh: boolean): boolean {
    const before = this.#book.sequence;
    const good = this.#book.apply(data, fresh);
    // Perhaps its source starts over; then there are no statistics until it trades again.
    if (!fresh && data.cleared === true) this.#tradedAt = null;
    if (!fresh) this.totals.events += Math.max(0, this.#book.sequence - before);
    this.#drawBook();
    this.#drawDepth();
    return good;
  }

  #onTrades(trades: readonly Trade[], how: "snapshot" | "update" | "overlap"): void {
    if (how === "snapshot") {
      this.tape.clear();
      // A hub that was started anew numbers from the beginning.
      if ((trades.at(-1)?.sequence ?? 0) < this.#counted) this.#counted = 0;
    }
    const fresh = how === "overlap" ? trades.filter(({ sequence }) => sequence > this.#counted) : trades;
    if (how !== "snapshot") this.totals.trades += fresh.length;
    this.tape.add(fresh);
    this.#count(fresh);
    const last = fresh.at(-1);
    if (last !== undefined) {
      this.#tradedAt ??= performance.now();
      this.#quote.last(last.price);
    }
    this.#drawTape();
    this.#drawCandles();
  }

  /** Adds trades to the candle that forms, each once. */
  #count(trades: readonly Trade[]): void {
    if (this.#early !== null) {
      this.#early = [...this.#early, ...trades].slice(-EARLY_MAX);
      return;
    }
    for (const trade of trades) {
      if (trade.sequence <= this.#counted) continue;
      this.#counted = trade.sequence;
      this.#candles.trade(trade);
    }
  }

  #onBars(bars: readonly Bar[], fresh: boolean): void {
    if (fresh) this.#candles.replace(bars);
    else for (const bar of bars) this.#candles.complete(bar);
    this.#drawCandles();
  }

  #onAlerts(alerts: readonly Alert[]): void {
    const last = alerts.at(-1);
    if (last !== undefined) this.#toxicity.alert(last);
  }
}
