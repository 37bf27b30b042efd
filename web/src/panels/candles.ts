// Candles with volume for one interval: history, completed bars, and the one that forms.
import {
  CandlestickSeries, ColorType, CrosshairMode, HistogramSeries, createChart,
  type CandlestickData, type HistogramData, type IChartApi, type ISeriesApi, type UTCTimestamp,
} from "lightweight-charts";
import { byId, make, mark, write } from "../dom.ts";
import { clock, count, day, price } from "../format.ts";
import { INTERVALS, isInterval, type Candle, type Candles, type Interval } from "../series.ts";
import { faint, palette, whenThemeChanges } from "../theme.ts";

/** Width of a bar, and how many fit between the newest and the edge. */
const BAR_PX = 7;
const RIGHT_BARS = 4;
const KEY = "nautilus-interval";
const stamp = (candle: Candle): UTCTimestamp => candle.time as UTCTimestamp;
const body = (candle: Candle): CandlestickData<UTCTimestamp> => ({
  time: stamp(candle), open: candle.open, high: candle.high, low: candle.low, close: candle.close,
});
const bar = (candle: Candle): HistogramData<UTCTimestamp> => ({
  time: stamp(candle),
  value: candle.volume,
  color: faint(candle.close >= candle.open ? palette.buy : palette.sell, 0.45),
});

export class CandleChart {
  readonly #place = byId("candles", HTMLElement);
  readonly #legend = byId("candles-legend", HTMLElement);
  readonly #chart: IChartApi;
  readonly #prices: ISeriesApi<"Candlestick">;
  readonly #volumes: ISeriesApi<"Histogram">;
  #candles: Candles | null = null;
  #drawnTo = 0;
  /** Other candles than before, of which none is drawn yet: the first to come are shown from their end. */
  #entered = false;
  #digits = 2;

  constructor() {
    this.#chart = createChart(this.#place, {
      autoSize: true,
      // The logo brings an inline style, which the page's policy refuses; the attribution stands in the footer.
      layout: { attributionLogo: false, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false, scaleMargins: { top: 0.06, bottom: 0.24 } },
      timeScale: { borderVisible: false, timeVisible: true, rightOffset: RIGHT_BARS, barSpacing: BAR_PX },
    });
    this.#prices = this.#chart.addSeries(CandlestickSeries, {});
    this.#volumes = this.#chart.addSeries(HistogramSeries, {
      priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false,
    });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.#colours();
    whenThemeChanges(() => {
      this.#colours();
      this.#anew();
    });
    this.#chart.subscribeCrosshairMove((at) => {
      this.#describe(typeof at.time === "number" ? this.#find(at.time) : null);
    });
    this.#place.addEventListener("keydown", (event) => this.#key(event));
  }

  /** From now on these candles, in prices of so many digits. */
  use(candles: Candles, digits: number): void {
    this.#candles = candles;
    this.#digits = digits;
    this.#prices.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 1 / 10 ** digits } });
    this.#entered = true;
    this.#anew();
  }

  #anew(): void {
    this.#candles?.invalidate();
    this.show();
  }

  show(): void {
    const candles = this.#candles;
    if (candles === null) return;
    const changes = candles.changes(this.#drawnTo);
    if (changes === null) this.#drawAll(candles);
    else this.#drawEnd(changes);
    this.#drawnTo = candles.last()?.time ?? 0;
    this.#describe(null);
  }

  #drawEnd(changes: readonly Candle[]): void {
    for (const candle of changes) {
      this.#prices.update(body(candle));
      this.#volumes.update(bar(candle));
    }
  }

  #drawAll(candles: Candles): void {
    const all = candles.all();
    this.#prices.setData(all.map(body));
    this.#volumes.setData(all.map(bar));
    if (!this.#entered || all.length === 0) return;
    this.#entered = false;
    this.#chart.timeScale().applyOptions({ barSpacing: BAR_PX });
    this.#chart.timeScale().scrollToPosition(RIGHT_BARS, false);
  }

  #find(time: number): Candle | null {
    const candles = this.#candles;
    if (candles === null) return null;
    return candles.forming?.time === time ? candles.forming : (candles.completed.find((known) => known.time === time) ?? null);
  }

  #describe(pointed: Candle | null): void {
    const shown = pointed ?? this.#candles?.last() ?? null;
    const text = (value: number): string => price(value, this.#digits);
    const figures = (candle: Candle): string => {
      const { open, high, low, close, volume } = candle;
      const prices = `O ${text(open)}  H ${text(high)}  L ${text(low)}  C ${text(close)}`;
      return `${day(candle.time * 1000)} ${clock(candle.time * 1000)}  ${prices}  V ${count(volume)}`;
    };
    const line = shown === null ? "no bars yet" : figures(shown);
    write(this.#legend, line);
    if (pointed === null) mark(this.#place, "aria-label", `Candles with volume; newest: ${line}`);
  }

  #colours(): void {
    const { buy, sell, text, line, muted, font, panel } = palette;
    this.#chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: panel }, textColor: muted, fontFamily: font },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      crosshair: {
        vertLine: { color: muted, labelBackgroundColor: muted }, horzLine: { color: muted, labelBackgroundColor: muted },
      },
    });
    // Rising candles are hollow and falling ones filled: told apart without colour.
    this.#prices.applyOptions({
      upColor: panel, borderUpColor: buy, wickUpColor: buy, downColor: sell, borderDownColor: sell, wickDownColor: sell,
      priceLineColor: text,
    });
  }

  #key(event: KeyboardEvent): void {
    const scale = this.#chart.timeScale();
    const spacing = scale.options().barSpacing;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => scale.scrollToPosition(scale.scrollPosition() - 10, false),
      ArrowRight: () => scale.scrollToPosition(scale.scrollPosition() + 10, false),
      Home: () => scale.fitContent(),
      End: () => scale.scrollToPosition(RIGHT_BARS, false),
      "+": () => scale.applyOptions({ barSpacing: Math.min(40, spacing * 1.25) }),
      "=": () => scale.applyOptions({ barSpacing: Math.min(40, spacing * 1.25) }),
      "-": () => scale.applyOptions({ barSpacing: Math.max(1, spacing / 1.25) }),
    };
    const action = actions[event.key];
    if (action === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  }
}

/** The choice of the interval; remembered. */
export function intervalChoice(onChange: (interval: Interval) => void): Interval {
  const kept = localStorage.getItem(KEY) ?? "";
  const first: Interval = isInterval(kept) ? kept : "1m";
  const choice = byId("intervals", HTMLFieldSetElement);
  for (const name of Object.keys(INTERVALS)) {
    const input = make("input", { type: "radio", name: "interval", value: name });
    input.checked = name === first;
    input.addEventListener("change", () => {
      if (!input.checked || !isInterval(name)) return;
      localStorage.setItem(KEY, name);
      onChange(name);
    });
    choice.append(make("label", {}, input, make("span", {}, name)));
  }
  return first;
}
