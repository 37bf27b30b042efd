// VPIN over volume time with its place in its own distribution, and the level as a word.
import uPlot from "uplot";
import { Problem, api, type VpinConfiguration, type VpinState } from "../api.ts";
import { byId, draw, fact, make, mark, throttled, write } from "../dom.ts";
import { NONE, clock, count, percent } from "../format.ts";
import type { Alert, VpinBucket } from "../protocol.ts";
import { BUCKETS_MAX, Buckets, Ring } from "../series.ts";
import { palette } from "../theme.ts";
import { Plot, axis, threshold, type Options } from "./plot.ts";

const CLASSIFICATIONS = {
  bulk_normal: "bulk, normal",
  bulk_student_t: "bulk, Student's t",
  aggressor: "aggressor flag",
  tick_rule: "tick rule",
} as const;
const LEVELS: Record<string, string> = { low: "▽ low", moderate: "◇ moderate", high: "▲ high" };
const SHOWN = 400;

export class Toxicity {
  readonly #place = byId("vpin", HTMLElement);
  readonly #level = byId("vpin-level", HTMLElement);
  readonly #alert = byId("vpin-alert", HTMLElement);
  readonly #choice = byId("classification", HTMLSelectElement);
  readonly #facts = {
    vpin: fact("VPIN"),
    cdf: fact("CDF", "Share of this instrument's own past values that lie below"),
    bucket: fact("Bucket", "How far the bucket that fills is, and its volume"),
    buckets: fact("Buckets", "Completed since the engine started, and how many one value spans"),
  };
  readonly #plot: Plot;
  readonly #redraw = throttled(250, () => this.#draw());
  #symbol: string | null = null;
  #buckets = new Buckets();
  /** Buckets that come while history is asked for. */
  #pending = new Ring<VpinBucket>(BUCKETS_MAX);
  #loaded = false;
  #known = false;
  #chosen = false;
  #configuration: VpinConfiguration | null = null;

  constructor() {
    byId("vpin-facts", HTMLElement).append(...Object.values(this.#facts).map(({ node }) => node));
    for (const [value, name] of Object.entries(CLASSIFICATIONS)) this.#choice.append(make("option", { value }, name));
    this.#choice.addEventListener("change", () => {
      this.#chosen = true;
      if (this.#known) void this.#load();
    });
    this.#plot = new Plot(this.#place, () => this.#options());
  }

  /** Shows this instrument; its history comes when the engine knows it. */
  async use(symbol: string): Promise<void> {
    this.#symbol = symbol;
    this.#known = false;
    this.#configuration = null;
    write(this.#alert, "");
    this.#clear();
    this.state(null);
    const state = await api.vpin(symbol).catch(() => null);
    if (this.#symbol === symbol) this.state(state);
  }

  /** Buckets as they complete. After a snapshot or a restart of the source, numbers begin again. */
  add(buckets: readonly VpinBucket[], restart: boolean): void {
    const mine = buckets.filter(({ classification }) => classification === this.#choice.value);
    if (!this.#loaded) this.#pending.push(...mine);
    else for (const bucket of mine) this.#buckets.add(bucket, restart);
    this.#redraw();
  }

  alert(alert: Alert): void {
    const name = CLASSIFICATIONS[alert.classification as keyof typeof CLASSIFICATIONS] ?? alert.classification;
    const at = clock(alert.ts_event_ns / 1e6);
    write(this.#alert, `${at} ${name}: ${alert.previous} → ${alert.level}, VPIN ${alert.vpin?.toFixed(3) ?? NONE}, CDF ${percent(alert.cdf)}`);
  }

  /** The engine's answer for the instrument, once a second. */
  state(state: VpinState | null): void {
    if (state !== null && !this.#known) {
      this.#known = true;
      // The engine's own classification, until the reader chose one.
      if (!this.#chosen) this.#choice.value = state.classification;
      void this.#load();
    }
    const reading = state?.by_classification[this.#choice.value] ?? null;
    const { vpin, cdf, bucket, buckets } = this.#facts;
    write(vpin.value, reading?.vpin?.toFixed(4) ?? NONE);
    write(cdf.value, percent(reading?.cdf));
    const volume = state?.bucket_volume ?? null;
    const filled = reading === null || volume === null ? null : Number(reading.filled) / Number(volume);
    write(bucket.value, filled === null ? NONE : `${percent(filled)} of ${count(Number(volume))}`);
    write(buckets.value, reading === null ? NONE : `${count(reading.buckets)}, window ${state?.window ?? NONE}`);
    const left = state?.calibration_trades_left ?? 0;
    const level = reading?.level ?? null;
    const unknown = state === null ? "unknown" : left > 0 ? `calibrating: ${left} trades to go` : "no level yet";
    write(this.#level, level === null ? unknown : (LEVELS[level] ?? level));
    mark(this.#level, "data-state", level ?? "none");
  }

  async #load(): Promise<void> {
    const symbol = this.#symbol;
    const classification = this.#choice.value;
    if (symbol === null) return;
    this.#clear();
    const [history, configuration] = await Promise.all([
      api.vpinHistory(symbol, classification).catch((error: unknown) => {
        if (error instanceof Problem) return [];
        throw error;
      }),
      api.vpinConfiguration(symbol).catch(() => null),
    ]);
    if (this.#symbol !== symbol || this.#choice.value !== classification) return;
    this.#configuration = configuration;
    this.#buckets.merge(
      history.map(({ bucket, ts_close_ns, vpin, cdf }) => ({ classification, bucket, ts_event_ns: ts_close_ns, vpin, cdf })),
    );
    this.#loaded = true;
    for (const bucket of this.#pending.items) this.#buckets.add(bucket, false);
    this.#pending = new Ring(BUCKETS_MAX);
    this.#redraw();
  }

  #clear(): void {
    this.#buckets = new Buckets();
    this.#pending = new Ring(BUCKETS_MAX);
    this.#loaded = false;
    draw(() => this.#draw());
  }

  #draw(): void {
    const shown = this.#buckets.list.slice(-SHOWN);
    this.#plot.set([shown.map(({ bucket }) => bucket), shown.map(({ vpin }) => vpin), shown.map(({ cdf }) => cdf)]);
    const last = shown.at(-1);
    const text = last === undefined ? "no bucket yet" : `bucket ${last.bucket}, VPIN ${last.vpin?.toFixed(3) ?? "unknown"}, CDF ${percent(last.cdf)}`;
    mark(this.#place, "aria-label", `VPIN over buckets of equal volume: ${text}`);
  }

  #options(): Options {
    const lines = (u: uPlot): void => {
      const { moderate_above: moderate, high_above: high } = this.#configuration ?? {};
      if (moderate !== undefined) threshold(u, moderate, `CDF moderate ${moderate}`, palette.muted);
      if (high !== undefined) threshold(u, high, `CDF high ${high}`, palette.warn);
    };
    const time = (bucket: number): string => {
      const found = this.#buckets.list.find((known) => known.bucket === bucket);
      return found === undefined ? "" : clock(found.ts_event_ns / 1e6);
    };
    return {
      legend: { show: true, live: true },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: false }, y: { range: [0, 1] } },
      axes: [
        axis({ size: 26, space: 76, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000], values: (_u, splits) => splits.map(time) }),
        axis({ size: 34, values: (_u, splits) => splits.map((value) => value.toFixed(1)) }),
      ],
      series: [
        { label: "#", value: (_u, value: number | null) => (value === null ? NONE : `${value} · ${time(value)}`) },
        { label: "VPIN", stroke: palette.accent, width: 2, points: { show: false }, value: (_u, value: number | null) => value?.toFixed(3) ?? NONE },
        { label: "CDF", stroke: palette.muted, width: 1, dash: [3, 3], points: { show: false }, value: (_u, value: number | null) => percent(value) },
      ],
      hooks: { draw: [lines] },
    };
  }
}
